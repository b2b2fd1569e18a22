from __future__ import annotations

import hashlib
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from colonnade.base.errors import RefusedError, UsageError
from colonnade.bundle import manifest as bundle
from colonnade.records.model import Feature, FileDigest, Manifest, Signature

MODEL = b"the model's bytes"
PROFILE = b'{"rows":3}'


class Key:
    def __init__(self, key_id: str = "first") -> None:
        self.key_id = key_id
        self._private = Ed25519PrivateKey.generate()
        self.public = self._private.public_key().public_bytes_raw()

    def sign(self, data: bytes) -> tuple[str, bytes]:
        return self.key_id, self._private.sign(data)


def a_manifest(**changes: object) -> Manifest:
    signature = Signature(
        features=(
            Feature(name="distance", kind="number", low=0.5, high=4983.0),
            Feature(name="carrier", kind="category", categories=("UA", "Ünïted")),
        ),
        task="binary",
        classes=("false", "true"),
    )
    plain = {"name": "late", "version": 3, "run": "r1", "made_at": "2026-11-01T00:00:00.000000Z"}
    return Manifest(**{**plain, "signature": signature, "files": {}, **changes})


@pytest.fixture
def key() -> Key:
    return Key()


@pytest.fixture
def sealed(key: Key) -> dict[str, bytes]:
    return bundle.seal(a_manifest(), {"model.onnx": MODEL, "profile.json": PROFILE}, key)


def refusal(files: dict[str, bytes], key: Key) -> RefusedError:
    with pytest.raises(RefusedError) as caught:
        bundle.verify(files, {key.key_id: key.public})
    return caught.value


def test_a_manifest_survives_the_round_trip() -> None:
    written = a_manifest(files={"a.json": FileDigest(sha256="0" * 64, size_bytes=7)})
    assert bundle.decode(bundle.encode(written)) == written


def test_equal_manifests_give_equal_bytes_with_sorted_keys_and_no_spaces() -> None:
    data = bundle.encode(a_manifest(environment={"b": "1", "a": "2"}))
    assert data == bundle.encode(a_manifest(environment={"a": "2", "b": "1"}))
    assert data.startswith(b'{"environment":{"a":"2","b":"1"},"files":{}')


def test_a_range_that_is_not_a_number_cannot_be_written() -> None:
    feature = Feature(name="x", kind="number", low=float("nan"))
    broken = a_manifest(signature=Signature(features=(feature,), task="regression"))
    with pytest.raises(UsageError, match=r"CN-BUNDLE-001.*late@3"):
        bundle.encode(broken)


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b"\xff", b"[" * 100_000, b'{"name": 3}', b'{"name":"\xff"}'],
    ids=repr,
)
def test_what_is_not_a_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(RefusedError, match="CN-BUNDLE-002"):
        bundle.decode(data)


def test_a_manifest_with_an_unknown_field_is_refused() -> None:
    more = {**json.loads(bundle.encode(a_manifest())), "zzz": 1}
    with pytest.raises(RefusedError, match="does not know"):
        bundle.decode(json.dumps(more, separators=(",", ":"), sort_keys=True).encode())


def test_a_manifest_with_an_integer_beyond_canonical_json_is_refused() -> None:
    data = bundle.encode(a_manifest()).replace(b'"version":3', b'"version":9007199254740993')
    with pytest.raises(RefusedError, match="CN-BUNDLE-002"):
        bundle.decode(data)


def test_the_digest_is_sha256_in_hexadecimal() -> None:
    assert bundle.digest(MODEL) == hashlib.sha256(MODEL).hexdigest()


def test_sealing_lists_every_file_by_size_and_digest(sealed: dict[str, bytes], key: Key) -> None:
    found = bundle.verify(sealed, {key.key_id: key.public})
    assert found.files == {
        "model.onnx": FileDigest(sha256=bundle.digest(MODEL), size_bytes=len(MODEL)),
        "profile.json": FileDigest(sha256=bundle.digest(PROFILE), size_bytes=len(PROFILE)),
    }
    assert sealed.keys() == {"manifest.json", "manifest.sig", "model.onnx", "profile.json"}


def test_the_seal_is_a_signature_over_the_manifest_that_a_stranger_can_check(
    sealed: dict[str, bytes], key: Key
) -> None:
    note = json.loads(sealed["manifest.sig"])
    assert note["key_id"] == "first"
    public = key._private.public_key()
    public.verify(bytes.fromhex(note["signature"]), sealed["manifest.json"])


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sig"])
def test_content_may_not_take_the_name_of_the_seal(name: str, key: Key) -> None:
    with pytest.raises(UsageError, match=f"CN-BUNDLE-003.*{name}"):
        bundle.seal(a_manifest(), {name: b""}, key)


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sig"])
def test_a_bundle_without_its_seal_is_refused(
    name: str, sealed: dict[str, bytes], key: Key
) -> None:
    del sealed[name]
    error = refusal(sealed, key)
    assert error.code == "CN-BUNDLE-004"
    assert name in error.message


@pytest.mark.parametrize("note", [b"", b"{}", b'{"key_id":"first","signature":"xy"}', b"\x80\x04"])
def test_an_unreadable_seal_is_refused(note: bytes, sealed: dict[str, bytes], key: Key) -> None:
    assert refusal({**sealed, "manifest.sig": note}, key).code == "CN-BUNDLE-002"


def test_a_key_that_is_not_trusted_is_refused_by_its_id(sealed: dict[str, bytes]) -> None:
    error = refusal(sealed, Key("second"))
    assert error.code == "CN-BUNDLE-005"
    assert "'first'" in error.message
    assert "second" in error.message


def test_another_key_under_the_same_id_is_refused(sealed: dict[str, bytes]) -> None:
    assert refusal(sealed, Key("first")).code == "CN-BUNDLE-006"


def test_a_trusted_key_of_the_wrong_length_trusts_nothing(sealed: dict[str, bytes]) -> None:
    with pytest.raises(RefusedError, match="CN-BUNDLE-006"):
        bundle.verify(sealed, {"first": b"short"})


def test_a_changed_manifest_is_refused(sealed: dict[str, bytes], key: Key) -> None:
    changed = sealed["manifest.json"].replace(b'"version":3', b'"version":4')
    error = refusal({**sealed, "manifest.json": changed}, key)
    assert error.code == "CN-BUNDLE-006"
    assert bundle.digest(changed) in error.message


def test_a_missing_file_is_refused_with_the_digest_it_had(
    sealed: dict[str, bytes], key: Key
) -> None:
    del sealed["profile.json"]
    error = refusal(sealed, key)
    assert error.code == "CN-BUNDLE-007"
    assert "profile.json" in error.message
    assert bundle.digest(PROFILE) in error.message


@pytest.mark.parametrize("changed", [b"the model's byteS", b"", MODEL + b"\n"])
def test_a_changed_file_is_refused_with_both_digests(
    changed: bytes, sealed: dict[str, bytes], key: Key
) -> None:
    error = refusal({**sealed, "model.onnx": changed}, key)
    assert error.code == "CN-BUNDLE-008"
    assert "model.onnx" in error.message
    assert bundle.digest(MODEL) in error.message
    assert bundle.digest(changed) in error.message


def test_an_extra_file_is_refused_with_its_digest(sealed: dict[str, bytes], key: Key) -> None:
    error = refusal({**sealed, "model.pkl": b"cos"}, key)
    assert error.code == "CN-BUNDLE-009"
    assert "model.pkl" in error.message
    assert bundle.digest(b"cos") in error.message
