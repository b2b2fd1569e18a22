"""``POST /v1/sources/{name}/rows``: the body goes to a file part by part, then it is looked at."""

from __future__ import annotations

import asyncio
import hashlib
import os
from pathlib import Path
from typing import BinaryIO, Final

from colonnade.base import disk
from colonnade.data import receive
from colonnade.data.receive import READERS, Sent
from colonnade.project import Project
from colonnade.records.push import Receipt
from colonnade.server.route import Answer, Call, as_json
from colonnade.web.auth import Headers
from colonnade.web.limits import Gate
from colonnade.web.problem import HttpError

READING: Final = 2  # bodies that are made into rows at once: each is in memory then
_WRITE_BYTES: Final = 1 << 20


class Pushes:
    """Takes in what is pushed to a project's sources."""

    def __init__(self, project: Project, folder: Path, gate: Gate) -> None:
        self._project = project
        self._folder = folder
        self._gate = gate
        self._reading = asyncio.Semaphore(READING)

    async def push(self, call: Call) -> Answer:
        """Acknowledge rows when they last.

        Raises:
            ColonnadeError: what `receive.receive` and the limits raise; nothing is acknowledged.
        """
        source = receive.pushable(self._project.sources, call.holes["name"])
        media_type, key = _media_type(call.headers), receive.check_key(_key(call.headers))
        inbox = await asyncio.to_thread(call.caller.inbox, "write", source.name)
        with inbox.incoming() as path:
            digest = await self._save(call, path)
            sent = Sent(path=path, media_type=media_type, sha256=digest, key=key)
            async with self._reading:
                receipt = await asyncio.to_thread(
                    receive.receive, call.caller, source, self._folder, sent
                )
        return _answer(receipt)

    async def _save(self, call: Call, path: Path) -> str:
        """Write the body as it comes; returns the digest of its bytes."""
        try:
            with open(path, "xb", buffering=0, opener=_own) as file:  # noqa: ASYNC230 (no bytes yet)
                body = _Body(file)
                async for part in self._gate.parts(call.headers, call.receive):
                    await body.add(part)
                await body.flush()
        except OSError as error:
            raise disk.refused(error, path) from error
        return body.digest.hexdigest()


class _Body:
    """Bytes on their way to a file, a megabyte at a time."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._held = bytearray()
        self.digest = hashlib.sha256()

    async def add(self, part: bytes) -> None:
        self._held += part
        if len(self._held) >= _WRITE_BYTES:
            await self.flush()

    async def flush(self) -> None:
        held, self._held = self._held, bytearray()
        await asyncio.to_thread(self._write, held)

    def _write(self, held: bytearray) -> None:
        self.digest.update(held)
        view = memoryview(held)
        while view:  # the system may take a part only
            view = view[self._file.write(view) :]


def _own(name: str, flags: int) -> int:
    return os.open(name, flags, 0o600)


def _media_type(headers: Headers) -> str:
    """What the body is.

    Raises:
        HttpError: 415 CN-HTTP-011.
    """
    said = headers.get(b"content-type", b"").decode("latin-1")
    media_type = said.partition(";")[0].strip().lower()
    if media_type not in READERS:
        raise HttpError(
            415,
            "CN-HTTP-011",
            f"the body is {media_type[:100] or 'of no media type'}, "
            f"expected {' or '.join(READERS)}",
            "send content-type: application/json",
            headers=((b"accept", ", ".join(READERS).encode()),),
        )
    coding = headers.get(b"content-encoding", b"identity").decode("latin-1").strip().lower()
    if coding != "identity":
        raise HttpError(
            415,
            "CN-HTTP-011",
            f"the body is coded as {coding[:100]}, expected none",
            "send it as it is; an Arrow stream may hold compressed columns",
            headers=((b"accept-encoding", b"identity"),),
        )
    return media_type


def _key(headers: Headers) -> str | None:
    said = headers.get(b"idempotency-key")
    return None if said is None else said.decode("latin-1")


def _answer(receipt: Receipt) -> Answer:
    """The same for the same push, whatever has become of it since."""
    return as_json(
        202,
        {
            "source": receipt.source,
            "batch": receipt.batch,
            "rows": receipt.rows,
            "sha256": receipt.sha256,
            "file": f"file/{receipt.file_sha256}",
            "at": receipt.at,
        },
    )
