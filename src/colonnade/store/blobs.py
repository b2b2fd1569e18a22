"""Blobs: encrypted files named by the SHA-256 of what is in them, written before they are named."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from colonnade.base.errors import NotFoundError, RefusedError
from colonnade.records import canonical
from colonnade.store import durable
from colonnade.store.keys import Keys

_PURPOSE: Final = "blobs"


class Blobs:
    """Put bytes, get the same bytes back or a refusal."""

    def __init__(self, root: Path, keys: Keys) -> None:
        self._root = root
        self._keys = keys

    def put(self, data: bytes) -> str:
        """Store bytes durably; returns their digest. The same bytes are stored once.

        Raises:
            UnavailableError: CN-DISK-001, CN-DISK-002; nothing is stored under the digest.
        """
        digest = canonical.sha256(data)
        path = self.path(digest)
        if path.exists():
            return digest
        if not path.parent.is_dir():
            with durable.writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                durable.sync(self._root)
        durable.write(path, self._keys.encrypt(_PURPOSE, data, digest.encode()))
        return digest

    def get(self, digest: str) -> bytes:
        """The bytes with this digest, verified.

        Raises:
            NotFoundError: CN-BLOB-001, there are none.
            RefusedError: CN-BLOB-002, the file was changed.
        """
        path = self.path(digest)
        try:
            sealed = path.read_bytes()
        except FileNotFoundError as error:
            raise NotFoundError(
                "CN-BLOB-001", f"no blob {digest} under {self._root}", "restore it from a backup"
            ) from error
        try:
            data = self._keys.decrypt(_PURPOSE, sealed, digest.encode())
        except RefusedError as error:
            raise RefusedError(
                "CN-BLOB-002",
                f"the blob {digest} at {path} is not what was stored: {error.message}",
                "restore the file from a backup; nothing was loaded from it",
            ) from error
        return data

    def path(self, digest: str) -> Path:
        """Where the encrypted file lies."""
        return self._root / digest[:2] / digest
