"""Parsers of hosts, origins and prefixes."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass

LARGEST_PORT = 65_535

OWN_ROOTS = frozenset(
    {
        *("v1", "docs", "openapi.json", "static", "health", "metrics", "problems"),
        *("datasets", "fits", "mappings"),
    }
)
"""First segments of our own routes. A prefix that begins with one would be ambiguous: it could be a
route whose prefix a proxy has removed."""

_DEFAULT_PORTS = {"http": 80, "https": 443}
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{0,5}))?", re.ASCII)
_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", re.ASCII)
_ORIGIN = re.compile(r"(https?)://([^/?#]+)")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+)+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Authority:
    """Host and port of a URL; the host in lower case, an IPv6 address in brackets."""

    host: str
    port: int | None

    @property
    def is_ip(self) -> bool:
        """Whether the host is an address, which no name server can point elsewhere."""
        return self.host.startswith("[") or _is_ipv4(self.host)


def parse_authority(text: str) -> Authority | None:
    """Parse host and port; None unless the text is a `host[:port]` of RFC 3986 without a user."""
    found = _AUTHORITY.fullmatch(text)
    host = found and _host(found[1])
    if not found or not host:
        return None
    port = int(found[2]) if found[2] else None
    return Authority(host, port) if (port or 0) <= LARGEST_PORT else None


def _host(text: str) -> str | None:
    if text.startswith("["):
        try:
            return f"[{ipaddress.IPv6Address(text[1:-1])}]"
        except ValueError:
            return None
    # A name with a dot at its end is the same name, fully qualified.
    name = text.lower().removesuffix(".")
    return name if _NAME.fullmatch(name) else None


def _is_ipv4(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True


def is_origin_of(origin: str, host: Authority) -> bool:
    """Tell whether an Origin header names this host and port; the scheme is not compared.

    Behind a proxy that terminates TLS the scheme is not known reliably.
    """
    found = _ORIGIN.fullmatch(origin)
    place = found and parse_authority(found[2])
    if not found or not place:
        return False
    default = _DEFAULT_PORTS[found[1]]
    ports = (default if port is None else port for port in (place.port, host.port))
    return place.host == host.host and len(set(ports)) == 1


def parse_hosts(text: str) -> frozenset[str]:
    """Parse host names separated by commas; ValueError says what is wrong."""
    return frozenset(_host_name(part) for part in _parts(text))


def _host_name(text: str) -> str:
    found = parse_authority(text)
    if "*" in text:
        raise ValueError(f"{text[:80]!r} has a wildcard; list each host name by itself.")
    if found is None or ":" in text.rpartition("]")[2]:
        raise ValueError(
            f"{text[:80]!r} is no host name; write lab.example, without scheme or port."
        )
    return found.host


def parse_origins(text: str) -> tuple[str, ...]:
    """Parse origins separated by commas; ValueError says what is wrong."""
    return tuple(_origin(part) for part in _parts(text))


def _origin(text: str) -> str:
    found = _ORIGIN.match(text)
    if "*" in text:
        raise ValueError(f"{text[:80]!r} has a wildcard; list each origin by itself.")
    if not found or found.end() < len(text):
        raise ValueError(
            f"{text[:80]!r} is not a scheme, http or https in lower case, and a host,"
            " perhaps with a port; leave out what follows them."
        )
    authority = parse_authority(found[2])
    if authority is None:
        raise ValueError(f"{text[:80]!r} has a host or port that is malformed.")
    written = f"{found[1]}://{authority.host}"
    if authority.port not in {None, _DEFAULT_PORTS[found[1]]}:
        written += f":{authority.port}"
    if text != written:
        raise ValueError(f"{text[:80]!r} is not as browsers send it: {written}")
    return text


def parse_prefix(text: str) -> str:
    """Parse the path of the service, empty for the root; ValueError if it is malformed."""
    if not text:
        return ""
    segments = text[1:].split("/")
    if not _PREFIX.fullmatch(text) or {".", ".."} & set(segments):
        raise ValueError(
            f"{text[:80]!r} is no path such as /lab/curves, without a slash at its end."
        )
    if segments[0] in OWN_ROOTS:
        raise ValueError(f"{text[:80]!r} begins as an address of the service itself does.")
    return text


def _parts(text: str) -> Iterable[str]:
    return (part.strip() for part in text.split(",") if part.strip())
