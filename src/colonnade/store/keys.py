"""The root keys of a project and what is derived from them.

The key file lies outside the project folder, mode 0600: one line a root key, ``id base64``, the
newest last. Rotating appends a line: new signatures and ciphertexts use the newest key, old ones
stay readable. Purposes get keys of their own by HKDF, so that one that leaks opens no other.
"""

from __future__ import annotations

import base64
import os
import secrets
import stat
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from colonnade.base.errors import RefusedError, UnavailableError
from colonnade.store import durable

_NONCE_BYTES: Final = 12
_ID_BYTES: Final = 8  # characters of a key's id


class Keys:
    """Signs and encrypts with the newest root key, verifies and decrypts with all."""

    def __init__(self, path: Path) -> None:
        """Read the key file.

        Raises:
            UnavailableError: CN-KEYS-001, it is missing; CN-KEYS-002, it is no key file.
            RefusedError: CN-KEYS-003, others may read it.
        """
        self._path = path
        self._roots = _read(path)

    @property
    def key_id(self) -> str:
        """Which key signs now."""
        return next(reversed(self._roots))

    def sign(self, data: bytes) -> bytes:
        """The Ed25519 signature of `data` by the newest key."""
        return self._signing(self.key_id).sign(data)

    def public(self) -> dict[str, bytes]:
        """Key id -> the 32 raw bytes of its Ed25519 public key."""
        return {key: self._signing(key).public_key().public_bytes_raw() for key in self._roots}

    def secret(self, purpose: str, key_id: str | None = None) -> bytes:
        """A 256-bit key for one purpose."""
        if key_id is not None and key_id not in self._roots:  # another process may have rotated
            self._roots = _read(self._path)
        root = self._roots[key_id or self.key_id]
        return HKDF(hashes.SHA256(), 32, salt=None, info=purpose.encode()).derive(root)

    def secrets(self, purpose: str) -> dict[str, bytes]:
        """Key id -> the purpose's key, the newest last."""
        return {key: self.secret(purpose, key) for key in self._roots}

    def encrypt(self, purpose: str, data: bytes, bound: bytes) -> bytes:
        """AES-256-GCM: key id, nonce, ciphertext; `bound` is authenticated, not stored."""
        nonce = os.urandom(_NONCE_BYTES)
        sealed = AESGCM(self.secret(purpose)).encrypt(nonce, data, bound)
        return self.key_id.encode() + nonce + sealed

    def decrypt(self, purpose: str, data: bytes, bound: bytes) -> bytes:
        """What `encrypt` was given.

        Raises:
            RefusedError: CN-KEYS-004, the bytes were changed or the key is not in the file.
        """
        key_id = data[:_ID_BYTES].decode(errors="replace")
        nonce, sealed = data[_ID_BYTES:][:_NONCE_BYTES], data[_ID_BYTES + _NONCE_BYTES :]
        try:
            return AESGCM(self.secret(purpose, key_id)).decrypt(nonce, sealed, bound)
        except (InvalidTag, KeyError, ValueError) as error:
            raise RefusedError(
                "CN-KEYS-004",
                f"{len(data)} encrypted bytes do not open with key {key_id!r}",
                "the file was changed, or the key file is not the one that it was written with",
            ) from error

    def rotate(self) -> str:
        """Add a root key and use it from now on; returns its id.

        Raises:
            UnavailableError: CN-DISK-001, CN-DISK-002; the file is as it was.
        """
        path = self._path.resolve()  # a link stays a link
        with durable.locked(path.parent):  # two rotations at once must both be kept
            text = path.read_bytes()
            if not text.endswith(b"\n"):  # somebody's editor left the last line open
                text += b"\n"
            key_id, line = _new()
            durable.write(path, text + line, mode=0o600)
        self._roots = _read(self._path)
        return key_id

    def _signing(self, key_id: str) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.secret("signing", key_id))


def make(path: Path) -> bool:
    """Make a key file with one root key; False where there is one already, which is kept.

    Raises:
        UnavailableError: CN-DISK-001, CN-DISK-002; there is no file.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with durable.writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            durable.write(temporary, _new()[1], mode=0o600)
            os.link(temporary, path)  # whole or not at all, and never over another one
            durable.sync(path.parent)
        except FileExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
    return True


def _new() -> tuple[str, bytes]:
    """A fresh root key: its id, and its line."""
    key_id = secrets.token_hex(_ID_BYTES // 2)
    return key_id, f"{key_id} {base64.b64encode(secrets.token_bytes(32)).decode()}\n".encode()


def _read(path: Path) -> dict[str, bytes]:
    try:
        mode = path.stat().st_mode
        text = "" if stat.S_ISFIFO(mode) else path.read_text(errors="replace")  # it would wait
    except OSError as error:
        raise UnavailableError(
            "CN-KEYS-001",
            f"the key file {path} cannot be read: {error.strerror}",
            "put it back from your backup, or name it with COLONNADE_KEY_FILE",
        ) from error
    if mode & 0o077:
        raise RefusedError(
            "CN-KEYS-003",
            f"the key file {path} has mode {mode & 0o777:04o}: others may read it",
            f"chmod 600 {path}",
        )
    try:
        roots = dict(_root(line) for line in text.splitlines() if line.strip())
    except ValueError:
        roots = {}
    if not roots:
        raise UnavailableError(
            "CN-KEYS-002",
            f"{path} is no key file: each line must be an id of {_ID_BYTES} characters and 32 "
            "bytes in base64",
            "put it back from your backup",
        )
    return roots


def _root(line: str) -> tuple[str, bytes]:
    key_id, text = line.split()
    root = base64.b64decode(text, validate=True)
    if len(key_id) != _ID_BYTES or len(root) != 32:
        raise ValueError(line)
    return key_id, root
