"""Where a request may go: to public addresses over HTTP, unless the declaration says otherwise.

Somebody who can name an address, or send one back as a redirect or a next page, could otherwise
reach what only this machine can: its own services, its network, a cloud's metadata.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from colonnade.base.errors import RefusedError, UnavailableError, UsageError

_PORTS = {"http": 80, "https": 443}
_NAT64 = ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Place:
    """A checked address: the request goes to `address`, whatever the name says a moment later."""

    scheme: str
    host: str
    port: int
    address: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """To whom a secret may be sent again."""
        return self.scheme, self.host, self.port


def check(url: str, what: str, *, allow_private: bool) -> Place:
    """Look up and check an address.

    Raises:
        RefusedError: CN-PULL-010, it leads to where it must not.
        UnavailableError: CN-PULL-012, the name cannot be looked up.
        UsageError: CN-PULL-013, it is no address.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        parts, host, port = urlsplit(""), "", 0
    if parts.scheme not in _PORTS or parts.username is not None:
        raise _refused(what, host, "is no plain http:// or https:// address")
    if not host:
        raise UsageError("CN-PULL-013", f"{what}: a page's address has no host", "mend next=")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UnavailableError(
            "CN-PULL-012",
            f"{what}: the name {host[:100]} cannot be looked up",
            "mend the address, or see that the network is there; then run again",
        ) from error
    addresses = [str(entry[4][0]) for entry in found]
    for address in addresses:
        if not allow_private and not _is_public(address):
            raise _refused(what, host, "is an address of this machine or of a private network")
    return Place(parts.scheme, host, port, addresses[0])


def _is_public(text: str) -> bool:
    address = ip_address(text.partition("%")[0])
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is not None:
            address = inner
        elif address in _NAT64:
            address = ip_address(int(address) & 0xFFFFFFFF)
    return address.is_global and not address.is_multicast


def _refused(what: str, host: str, why: str) -> RefusedError:
    return RefusedError(
        "CN-PULL-010",
        f"{what}: {host[:100] or 'the address'} {why}; nothing was asked",
        "declare co.Rest(..., allow_private=True) if the interface is your own and lies there",
    )
