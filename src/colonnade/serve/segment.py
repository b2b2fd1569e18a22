"""One file of the spool: a header and encrypted, checksummed frames, safe against a torn tail.

Layout, integers big-endian::

    "CNSPOOL" 01 | u32 length | header (msgpack) | u32 crc32(all before)
    c1 "FRM"     | u32 length | u32 crc32(ciphertext) | ciphertext        (any number of frames)

The last byte of the magic is the format's version. Each segment has its own AES-256-GCM key
(HKDF-SHA256 of the spool key, salted with the spool's id and the segment's number), so that the
frame's index can be the nonce; header and index are bound to every frame, which makes a frame
unreadable in another place. Losing the newest frames cannot be seen in the file: what was
acknowledged is known from when `fdatasync` returned.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from struct import Struct

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from colonnade.base.errors import RefusedError, VerdictError

MAGIC = b"CNSPOOL\x01"
CLOSED = ".seg"
MARK = b"\xc1FRM"  # 0xc1 is the one byte that msgpack never writes
_U32 = Struct(">I")
_FRAME = Struct(">4sII")
_encode = msgspec.msgpack.Encoder().encode


class Head(msgspec.Struct, frozen=True):
    """What a segment is: the header of its file.

    Attributes:
        key_id: the spool key that it is encrypted under.
        spool: id of the spool, new for every start of a worker.
        number: place in the spool, from 0.
    """

    key_id: str
    endpoint: str
    spool: str
    number: int


_decode_head = msgspec.msgpack.Decoder(Head).decode


@dataclass(frozen=True, slots=True, kw_only=True)
class SpoolKey:
    """The key that a spool is written under: 32 secret bytes and their public name."""

    id: str
    secret: bytes


class Sealer:
    """Encrypts and decrypts the frames of one segment."""

    def __init__(self, secret: bytes, head: Head) -> None:
        self.header = header(head)
        self._cipher = AESGCM(
            HKDF(
                algorithm=SHA256(),
                length=32,
                salt=head.spool.encode(),
                info=b"colonnade spool segment %d" % head.number,
            ).derive(secret)
        )

    def seal(self, index: int, plain: bytes) -> bytes:
        """Make the bytes of frame `index`, to be appended to the file.

        An index is used once: sealing other content under it would break the cipher.
        """
        sealed = self._cipher.encrypt(index.to_bytes(12, "big"), plain, self.header)
        return _FRAME.pack(MARK, len(sealed), zlib.crc32(sealed)) + sealed

    def open(self, index: int, sealed: bytes) -> bytes:
        """Decrypt frame `index`.

        Raises:
            VerdictError: CN-SPOOL-003, it was altered, moved, or sealed under another key.
        """
        try:
            return self._cipher.decrypt(index.to_bytes(12, "big"), sealed, self.header)
        except InvalidTag:
            raise VerdictError(
                "CN-SPOOL-003",
                f"frame {index} of a spool segment was altered, or the key is another one",
                "restore the segment from a copy, or set it aside and say so in the audit",
            ) from None


def header(head: Head) -> bytes:
    """The first bytes of a segment's file."""
    body = _encode(head)
    start = MAGIC + _U32.pack(len(body)) + body
    return start + _U32.pack(zlib.crc32(start))


def read_head(data: bytes) -> tuple[Head, int] | None:
    """The header and its length; None when it was never written to its end.

    Raises:
        VerdictError: CN-SPOOL-001, the bytes are no segment of this format.
    """
    if not data.startswith(MAGIC[: len(data)]):
        raise VerdictError(
            "CN-SPOOL-001",
            f"a spool segment begins with {data[:8]!r}, expected {MAGIC!r}",
            "read it with the version of colonnade that wrote it",
        )
    end = len(MAGIC) + 4
    if len(data) < end:
        return None
    end += _U32.unpack_from(data, len(MAGIC))[0]
    if len(data) < end + 4 or _U32.unpack_from(data, end)[0] != zlib.crc32(data[:end]):
        return None
    return _decode_head(data[len(MAGIC) + 4 : end]), end + 4


def read_segment(path: Path, keys: dict[str, bytes]) -> tuple[Head | None, list[bytes]]:
    """Decrypt the frames of a segment up to its end or its torn tail.

    Args:
        path: the file; its writer is done with it, or dead.
        keys: spool keys by their ids.

    Returns:
        The header (None when even that is torn: nothing was acknowledged) and the frames.

    Raises:
        VerdictError: CN-SPOOL-001 no segment; CN-SPOOL-002 a bad frame is followed by a good one,
            so it is damage and no torn tail; CN-SPOOL-003 a whole frame does not decrypt.
        RefusedError: CN-SPOOL-004, the key is not among `keys`.
    """
    data = path.read_bytes()
    found = read_head(data)
    if found is None:
        _refuse_later_frame(path, data, 0)
        _refuse_tail(path, 0, data)
        return None, []
    head, at = found
    sealer = Sealer(_secret(path, head, keys), head)
    frames: list[bytes] = []
    while (sealed := _frame(data, at)) is not None:
        frames.append(sealer.open(len(frames), sealed))
        at += _FRAME.size + len(sealed)
    _refuse_later_frame(path, data, at + 1)
    _refuse_tail(path, at, data)
    return head, frames


def _refuse_tail(path: Path, end: int, data: bytes) -> None:
    if path.suffix == CLOSED and (end < len(data) or end == 0):
        raise VerdictError(
            "CN-SPOOL-002",
            f"{path.name} is damaged at byte {end}: it was closed whole and has no torn tail",
            "restore it from a copy, or set it aside and say so in the audit",
        )


def _secret(path: Path, head: Head, keys: dict[str, bytes]) -> bytes:
    if head.key_id not in keys:
        raise RefusedError(
            "CN-SPOOL-004",
            f"{path.name} is sealed under key {head.key_id!r}, which is not at hand",
            "give the spool's keys of before the rotation too",
        )
    return keys[head.key_id]


def _frame(data: bytes, at: int) -> bytes | None:
    """The ciphertext of the frame that begins at `at`; None when there is no whole one."""
    if len(data) < at + _FRAME.size:
        return None
    mark, length, crc = _FRAME.unpack_from(data, at)
    sealed = data[at + _FRAME.size : at + _FRAME.size + length]
    if mark != MARK or len(sealed) < length or zlib.crc32(sealed) != crc:
        return None
    return sealed


def _refuse_later_frame(path: Path, data: bytes, start: int) -> None:
    while (start := data.find(MARK, start)) >= 0:
        if _frame(data, start) is not None:
            raise VerdictError(
                "CN-SPOOL-002",
                f"{path.name} is damaged before byte {start}: a whole frame follows a bad one",
                "restore it from a copy, or set it aside and say so in the audit",
            )
        start += 1
