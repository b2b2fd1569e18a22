"""Seal a bundle and check the seal: every file by size and SHA-256, the list by Ed25519.

A bundle at rest is a mapping of file name to bytes. ``manifest.json`` lists the other files and is
written as canonical JSON (RFC 8785), so that its SHA-256 names the bundle; ``manifest.sig`` is the
signature over those very bytes. Nothing here reads a file: whoever holds the bytes has them
checked, and what was checked is what is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, Protocol

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from colonnade.base.errors import RefusedError, UsageError
from colonnade.records import canonical
from colonnade.records.model import FileDigest, Manifest

MANIFEST: Final = "manifest.json"
SEAL: Final = "manifest.sig"
MODEL: Final = "model.onnx"
PROFILE: Final = "profile.json"

_REBUILD: Final = "register the version again from its run; never repair a bundle by hand"


class Signer(Protocol):
    """Something that holds an Ed25519 key and never shows it."""

    def sign(self, data: bytes) -> tuple[str, bytes]:
        """Sign `data`; returns the key's id and the 64 bytes of the signature."""
        ...


class _Seal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of ``manifest.sig``."""

    key_id: str
    signature: str


def encode(manifest: Manifest) -> bytes:
    """Write a manifest as canonical JSON: equal manifests give equal bytes (RFC 8785).

    Raises:
        UsageError: CN-BUNDLE-001, a number has no canonical form (NaN, or an integer past 2**53).
    """
    try:
        return canonical.encode(manifest)
    except UsageError as error:
        raise UsageError(
            "CN-BUNDLE-001",
            f"the manifest of {manifest.name}@{manifest.version} cannot be written: "
            f"{error.message}",
            "use finite numbers for a feature's range, and integers below 2**53",
        ) from error


def decode(data: bytes) -> Manifest:
    """Read a manifest, and only in the one form in which `encode` writes it.

    Raises:
        RefusedError: CN-BUNDLE-002, not a manifest, or it holds more than we can read.
    """
    try:
        manifest = canonical.read_json(data, Manifest)
        written = encode(manifest)
    except (ValueError, RecursionError, UsageError) as error:
        raise _unreadable(MANIFEST, str(error)) from error
    if written != data:
        raise _unreadable(MANIFEST, "it has fields that this version does not know, or other bytes")
    return manifest


def digest(data: bytes) -> str:
    """SHA-256 as 64 hexadecimal characters; of ``manifest.json`` it is the bundle's digest."""
    return canonical.sha256(data)


def seal(manifest: Manifest, files: Mapping[str, bytes], signer: Signer) -> dict[str, bytes]:
    """Add the list of files and its signature, and return the whole bundle.

    Args:
        manifest: what the bundle is; its `files` are filled in here.
        files: the content, ``model.onnx`` and its companions.
        signer: the key that vouches for them.

    Raises:
        UsageError: CN-BUNDLE-003, a file has the name of the manifest or of its signature.
    """
    if taken := sorted({MANIFEST, SEAL} & files.keys()):
        raise UsageError(
            "CN-BUNDLE-003",
            f"file {taken[0]} was given as content, but sealing writes it",
            "give the file another name",
        )
    listed = {
        name: FileDigest(sha256=digest(files[name]), size_bytes=len(files[name]))
        for name in sorted(files)
    }
    data = encode(replace(manifest, files=listed))
    key_id, signature = signer.sign(data)
    note = canonical.encode({"key_id": key_id, "signature": signature.hex()})
    return {**files, MANIFEST: data, SEAL: note}


def verify(files: Mapping[str, bytes], trusted: Mapping[str, bytes]) -> Manifest:
    """Check the signature and every file of a bundle, and return what it says it is.

    Args:
        files: the bundle: file name -> bytes.
        trusted: key id -> 32 raw bytes of an Ed25519 public key.

    Raises:
        RefusedError: CN-BUNDLE-002 (unreadable), 004 (no manifest or no signature), 005 (unknown
            key), 006 (other bytes than were signed), 007 (missing file), 008 (changed file), 009
            (extra file).
    """
    data = _part(files, MANIFEST)
    _check_signature(data, _part(files, SEAL), trusted)
    manifest = decode(data)
    for name, expected in manifest.files.items():
        _check_file(name, files.get(name), expected)
    if extra := sorted(files.keys() - manifest.files.keys() - {MANIFEST, SEAL}):
        raise RefusedError(
            "CN-BUNDLE-009",
            f"file {extra[0]} (sha256 {digest(files[extra[0]])}) is not in the manifest"
            f" (sha256 {digest(data)})",
            _REBUILD,
        )
    return manifest


def _part(files: Mapping[str, bytes], name: str) -> bytes:
    """The manifest or its signature, without which nothing can be checked."""
    data = files.get(name)
    if data is None:
        held = ", ".join(sorted(files)[:10]) or "nothing"
        raise RefusedError("CN-BUNDLE-004", f"{name} is missing; the bundle has {held}", _REBUILD)
    return data


def _check_signature(data: bytes, note: bytes, trusted: Mapping[str, bytes]) -> None:
    """Check that a trusted key signed exactly these bytes of the manifest."""
    try:
        seal_ = canonical.read_json(note, _Seal)
        signature = bytes.fromhex(seal_.signature)
    except (ValueError, RecursionError) as error:
        raise _unreadable(SEAL, str(error)) from error
    key = trusted.get(seal_.key_id)
    if key is None:
        known = ", ".join(sorted(trusted)) or "none"
        raise RefusedError(
            "CN-BUNDLE-005",
            f"{MANIFEST} (sha256 {digest(data)}) is signed by key {seal_.key_id!r};"
            f" trusted: {known}",
            "add the public key to the trusted keys if you know whose it is",
        )
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, data)
    except (InvalidSignature, ValueError) as error:  # ValueError: no key of 32 bytes
        raise RefusedError(
            "CN-BUNDLE-006",
            f"{MANIFEST} (sha256 {digest(data)}) is not what key {seal_.key_id!r} signed",
            _REBUILD,
        ) from error


def _check_file(name: str, data: bytes | None, expected: FileDigest) -> None:
    """Check one file against its line in the manifest."""
    want = f"{expected.size_bytes} bytes, sha256 {expected.sha256}"
    if data is None:
        raise RefusedError("CN-BUNDLE-007", f"file {name} is missing; signed was {want}", _REBUILD)
    found = FileDigest(sha256=digest(data), size_bytes=len(data))
    if found != expected:
        raise RefusedError(
            "CN-BUNDLE-008",
            f"file {name} has {found.size_bytes} bytes, sha256 {found.sha256}; signed was {want}",
            _REBUILD,
        )


def _unreadable(name: str, why: str) -> RefusedError:
    return RefusedError("CN-BUNDLE-002", f"{name} cannot be read: {why}", _REBUILD)
