"""A heartbeat: says every few seconds that a long piece of work still lives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from colonnade.base.errors import RefusedError, UnavailableError


@contextmanager
def beating(beat: Callable[[], None], every_s: float) -> Iterator[None]:
    """Call `beat` every so often, in a thread of its own, while the block works.

    A beat that is refused (the lease is another's by now) is the last one: the block learns of it
    where it would write, inside that transaction. One that found the store away is tried again.
    """
    over = threading.Event()

    def keep() -> None:
        with suppress(RefusedError):
            while not over.wait(every_s):
                with suppress(UnavailableError):
                    beat()

    thread = threading.Thread(target=keep, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
