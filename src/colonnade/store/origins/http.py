"""Asking one page: checked address, patience with a server that is busy, and no endless answer."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urljoin

import httpx

from colonnade.base import clock
from colonnade.base.errors import ColonnadeError, UnavailableError, UsageError
from colonnade.records.source import Rest
from colonnade.store.origins import address, secret

_TRIES: Final = 6
_FIRST_WAIT_S: Final = 0.5
_MOST_WAIT_S: Final = 60.0  # a server that wants more is told as one that does not answer
_REDIRECTS: Final = 5
_AGAIN: Final = (408, 425, 429, 500, 502, 503, 504)
_MOVED: Final = (301, 302, 303, 307, 308)
_MOST_LINKS: Final = 8192
_ASKING: Final = ContextVar("_ASKING", default=False)
# httpx logs each address as a whole; one of ours may hold a secret among its parameters.
logging.getLogger("httpx").addFilter(lambda _: not _ASKING.get())


@dataclass(frozen=True, slots=True)
class Page:
    """One answer.

    Attributes:
        url: where it came from, behind all redirects.
        next: what its header Link names as the next one.
    """

    url: str
    body: bytes
    next: str | None


class Client:
    """Asks an interface, slowly enough, again where that helps."""

    def __init__(self, origin: Rest, what: str) -> None:
        self._origin = origin
        self._what = what
        self._headers = {"accept": "application/json", "user-agent": "colonnade"}
        self._headers |= {name.lower(): secret.fill(text) for name, text in origin.headers.items()}
        self._begun_s: float | None = None
        self._home: tuple[str, str, int] | None = None
        self.bytes = 0
        # No proxy, .netrc or certificate of the environment: the address that was checked is asked.
        self._http = httpx.Client(
            timeout=httpx.Timeout(origin.timeout_s), follow_redirects=False, trust_env=False
        )

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def get(self, url: str, params: Mapping[str, str]) -> Page:
        """One page.

        Raises:
            RefusedError: CN-PULL-010, its address leads to where it must not.
            UnavailableError: CN-PULL-012, it does not answer, after `_TRIES` tries.
            UsageError: CN-PULL-011, it refuses; CN-PULL-014, it sends more than was allowed.
        """
        why = ""
        for attempt in range(_TRIES):
            self._slowly()
            try:
                found = self._follow(url, params)
            except (httpx.TransportError, TimeoutError) as error:
                wait_s, why = None, _why(error)
            except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
                raise self._unavailable(_why(error)) from None
            else:
                if isinstance(found, Page):
                    return found
                wait_s, why = found.wait_s, f"it answers {found.status}"
            if attempt + 1 < _TRIES:
                self._wait(wait_s, attempt, why)
        raise self._unavailable(f"{why}, {_TRIES} times")

    def _follow(self, url: str, params: Mapping[str, str]) -> Page | _Busy:
        for _ in range(_REDIRECTS + 1):
            found = self._once(url, params)
            if not isinstance(found, _Moved):
                return found
            url, params = found.to, {}
        raise UsageError(
            "CN-PULL-011",
            f"{self._what}: the interface redirects more than {_REDIRECTS} times",
            "name the address that it ends at",
        )

    def _once(self, url: str, params: Mapping[str, str]) -> Page | _Moved | _Busy:
        place = address.check(url, self._what, allow_private=self._origin.allow_private)
        self._home = self._home or place.origin
        asked = httpx.URL(url)
        if params:
            asked = asked.copy_merge_params(params)
        headers = self._headers if place.origin == self._home else {}  # a secret stays at home
        # The request goes to the address that was checked; name and certificate stay the host's.
        request = self._http.build_request(
            "GET",
            asked.copy_with(host=place.address, fragment=None),
            headers=headers | {"host": asked.netloc.decode("ascii")},
            extensions={"sni_hostname": place.host},
        )
        asking = _ASKING.set(True)
        try:
            response = self._http.send(request, stream=True)
        finally:
            _ASKING.reset(asking)
        try:
            return self._read(str(asked), response)
        finally:
            response.close()

    def _read(self, url: str, response: httpx.Response) -> Page | _Moved | _Busy:
        status = response.status_code
        if status in _MOVED and "location" in response.headers:
            return _Moved(urljoin(url, response.headers["location"]))
        if status in _AGAIN:
            return _Busy(status, _retry_after_s(response.headers.get("retry-after")))
        if status != 200:
            raise self._answered(status)
        until_s = time.monotonic() + self._origin.timeout_s
        body = bytearray()
        for part in response.iter_bytes():
            body += part
            if self.bytes + len(body) > self._origin.max_bytes:
                raise UsageError(
                    "CN-PULL-014",
                    f"{self._what}: the interface sends more than {self._origin.max_bytes:,} bytes",
                    "ask for less, or allow more: co.Rest(..., max_bytes=...)",
                )
            if time.monotonic() > until_s:
                raise TimeoutError
        self.bytes += len(body)
        link = response.links.get("next", {}) if _has_links(response) else {}
        found = link.get("url")
        return Page(url, bytes(body), None if found is None else urljoin(url, found))

    def _answered(self, status: int) -> ColonnadeError:
        if status in (401, 403):
            found, fix = "it does not let us in", "mend the secret that headers or params name"
        elif status in (404, 410):
            found, fix = "there is nothing at this address", "mend the address or the parameters"
        else:
            found, fix = "expected 200", "mend the address or the parameters"
        return UsageError(
            "CN-PULL-011", f"{self._what}: the interface answers {status}: {found}", fix
        )

    def _slowly(self) -> None:
        """Keep to the rate: so many requests a second."""
        if self._origin.rate is not None and self._begun_s is not None:
            time.sleep(max(0.0, self._begun_s + 1 / self._origin.rate - time.monotonic()))
        self._begun_s = time.monotonic()

    def _wait(self, wait_s: float | None, attempt: int, why: str) -> None:
        if wait_s is not None and wait_s > _MOST_WAIT_S:
            raise self._unavailable(f"{why} and asks to wait {wait_s:,.0f} s")
        most_s = min(_MOST_WAIT_S, _FIRST_WAIT_S * 2**attempt)
        spread_s = random.uniform(most_s / 2, most_s)  # noqa: S311 (no secret)
        time.sleep(spread_s if wait_s is None else wait_s + spread_s / 10)

    def _unavailable(self, why: str) -> UnavailableError:
        return UnavailableError(
            "CN-PULL-012",
            f"{self._what}: the interface does not answer: {why}",
            "see that it runs and can be reached from here, then run again",
        )


@dataclass(frozen=True, slots=True)
class _Moved:
    to: str


@dataclass(frozen=True, slots=True)
class _Busy:
    status: int
    wait_s: float | None


def _has_links(response: httpx.Response) -> bool:
    return 0 < len(response.headers.get("link", "")) <= _MOST_LINKS


def _retry_after_s(text: str | None) -> float | None:
    """Seconds, or a date of HTTP; None where it is neither."""
    if text is None:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - clock.now_s())
    except (TypeError, ValueError, OverflowError):
        return None


def _why(error: Exception) -> str:
    """In our words: those of a library may hold the address with its parameters."""
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return "it takes too long"
    if isinstance(error, httpx.ConnectError):
        return "no connection, or its certificate is not to be trusted"
    return "the connection broke, or what came is no HTTP"
