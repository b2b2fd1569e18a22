from __future__ import annotations

import base64
import subprocess
import sys

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from colonnade.base.errors import RefusedError, UnavailableError
from colonnade.store import keys
from colonnade.store.keys import Keys


@pytest.fixture
def path(tmp_path):
    keys.make(tmp_path / "below" / "root.key")
    return tmp_path / "below" / "root.key"


def _verify(public, signature, data):
    Ed25519PublicKey.from_public_bytes(public).verify(signature, data)


def test_a_key_file_is_for_its_owner_alone(path):
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_key_file_is_never_written_over(path):
    before = path.read_bytes()
    assert keys.make(path) is False
    assert path.read_bytes() == before


def test_purposes_and_roots_have_keys_of_their_own(path):
    mine = Keys(path)
    mine.rotate()
    purposes = ("blobs", "spool", "signing")
    found = [mine.secret(purpose, key) for purpose in purposes for key in mine.public()]
    assert len({*found}) == 6
    assert all(len(secret) == 32 for secret in found)
    assert list(mine.secrets("spool")) == list(mine.public())
    assert mine.secrets("spool")[mine.key_id] == mine.secret("spool")


def test_the_same_file_gives_the_same_keys(path):
    assert Keys(path).secret("blobs") == Keys(path).secret("blobs")
    assert Keys(path).public() == Keys(path).public()


def test_what_is_encrypted_opens_only_for_its_purpose_and_its_place(path):
    mine = Keys(path)
    sealed = mine.encrypt("blobs", b"secret", b"place")
    assert b"secret" not in sealed
    assert mine.encrypt("blobs", b"secret", b"place") != sealed
    assert mine.decrypt("blobs", sealed, b"place") == b"secret"
    for purpose, bound in [("spool", b"place"), ("blobs", b"elsewhere")]:
        with pytest.raises(RefusedError, match="CN-KEYS-004"):
            mine.decrypt(purpose, sealed, bound)


def test_every_changed_byte_of_a_ciphertext_is_found(path):
    mine = Keys(path)
    sealed = mine.encrypt("blobs", b"x", b"")
    for place in range(len(sealed)):
        changed = bytearray(sealed)
        changed[place] ^= 1
        with pytest.raises(RefusedError, match="CN-KEYS-004"):
            mine.decrypt("blobs", bytes(changed), b"")


@pytest.mark.parametrize("length", [0, 7, 8, 19, 20, 30])
def test_a_ciphertext_that_was_cut_is_refused(path, length):
    mine = Keys(path)
    with pytest.raises(RefusedError, match="CN-KEYS-004"):
        mine.decrypt("blobs", mine.encrypt("blobs", b"x", b"")[:length], b"")


def test_rotation_keeps_what_was_written_readable(path):
    mine = Keys(path)
    old, sealed, signature = mine.key_id, mine.encrypt("blobs", b"x", b""), mine.sign(b"data")
    new = mine.rotate()
    assert mine.key_id == new != old
    again = Keys(path)
    assert list(again.public()) == [old, new]
    assert again.decrypt("blobs", sealed, b"") == b"x"
    _verify(again.public()[old], signature, b"data")
    with pytest.raises(InvalidSignature):
        _verify(again.public()[old], again.sign(b"data"), b"data")
    _verify(again.public()[new], again.sign(b"data"), b"data")


def test_a_process_that_opened_the_file_earlier_reads_what_a_rotated_one_writes(path):
    earlier, other = Keys(path), Keys(path)
    other.rotate()
    assert earlier.decrypt("blobs", other.encrypt("blobs", b"x", b""), b"") == b"x"


def test_rotation_mends_an_open_last_line(path):
    path.write_text(path.read_text().rstrip("\n"))
    mine = Keys(path)
    mine.rotate()
    assert len(Keys(path).public()) == 2


def test_a_missing_key_file_is_named(tmp_path):
    with pytest.raises(UnavailableError, match="CN-KEYS-001") as missing:
        Keys(tmp_path / "root.key")
    assert "COLONNADE_KEY_FILE" in missing.value.fix
    assert "root.key" in missing.value.message


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601])
def test_a_key_file_that_others_may_open_is_refused(path, mode):
    path.chmod(mode)
    with pytest.raises(RefusedError, match="CN-KEYS-003") as refused:
        Keys(path)
    assert refused.value.fix == f"chmod 600 {path}"


_KEY = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "text",
    ["", "\n", "hello\n", f"short {_KEY}\n", f"abcdefgh {_KEY[:-8]}\n", f"abcdefgh {_KEY} x\n",
     f"abcdefgh {_KEY}abcdefgh {_KEY}\n", "abcdefgh ****\n", "\xff\xfe"],
)  # fmt: skip
def test_what_is_no_key_file_is_refused_and_not_quoted(path, text):
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UnavailableError, match="CN-KEYS-002") as refused:
        Keys(path)
    assert _KEY not in str(refused.value)


def test_two_processes_that_make_the_file_at_once_leave_one_key(tmp_path):
    script = (
        "import sys; from pathlib import Path; from colonnade.store import keys\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "print(keys.make(Path(sys.argv[1])))\n"
    )
    path = tmp_path / "root.key"
    makers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for maker in makers:
        assert maker.stdout.readline() == "ready\n"
    answers = [maker.communicate("\n", timeout=30)[0] for maker in makers]
    assert sorted(answers) == ["False\n", "True\n"]
    assert len(Keys(path).public()) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["root.key"]
