"""Network addresses and host names in their normal form."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache

_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}")
_LOCAL_IPV4 = re.compile(r"127\.|2(?:2[4-9]|3\d)\.|0\.0\.0\.0$|255\.255\.255\.255$")
_LINK_LOCAL = re.compile(r"169\.254\.|fe[89ab][0-9a-f]:", re.IGNORECASE)
_BRIDGES = frozenset({*(f"172.{net}.0.1" for net in range(17, 32)), "192.168.122.1", "10.88.0.1", "10.0.3.1"})
"""What container hosts and hypervisors (Docker, libvirt, Podman, LXC) call themselves on networks of their own."""
_WITH_PORT = re.compile(r"(\d{1,3}(?:\.\d{1,3}){3}):\d{1,5}")


def is_plain_ipv4(text: str) -> bool:
    """Is this an IPv4 address in its normal form?"""
    return _IPV4.fullmatch(text) is not None


@lru_cache(maxsize=65536)
def parse_ip(text: str) -> str | None:
    """An address in its normal form; a prefix length (`/24`), a zone (`%eth0`) and the port behind an IPv4 address are
    dropped; None when it is no address."""
    if len(text) > 80 or (":" not in text and not text[:1].isdigit()):
        return None
    if _IPV4.fullmatch(text):
        return text
    with_port = _WITH_PORT.fullmatch(text)
    try:
        return str(ipaddress.ip_address(with_port[1] if with_port else text.split("/", 1)[0].split("%", 1)[0]))
    except ValueError:
        return None


def says_nothing(address: str) -> bool:
    """Addresses that every machine may have: unspecified, loopback, multicast, broadcast."""
    if ":" not in address:
        return _LOCAL_IPV4.match(address) is not None
    parsed = ipaddress.ip_address(address)
    return parsed.is_unspecified or parsed.is_loopback or parsed.is_multicast


def is_link_local(address: str) -> bool:
    """Did the machine give itself this address, which counts on its own wire only (RFC 3927, RFC 4291)?"""
    return _LINK_LOCAL.match(address) is not None


@lru_cache(maxsize=65536)
def special_address(text: str) -> str | None:
    """Why an address (or `localhost`) is no machine's own: loopback, link-local, multicast, broadcast, unspecified; else
    None."""
    if text.lower() in {"localhost", "localhost.localdomain", "ip6-localhost"}:
        return "loopback address"
    address = parse_ip(text)
    if address is None:
        return None
    if address == "255.255.255.255":
        return "broadcast address"
    parsed = ipaddress.ip_address(address)
    for said, holds in (
        ("loopback address", parsed.is_loopback),
        ("link-local address", parsed.is_link_local),
        ("multicast address", parsed.is_multicast),
        ("unspecified address", parsed.is_unspecified),
    ):
        if holds:
            return said
    return None


def telling(addresses: Iterable[str]) -> list[str]:
    """Those of a machine's addresses by which it can be found: none that it gave itself or that every machine may have,
    and none of the usual bridges to its own containers where it has others."""
    found = [address for address in addresses if not is_link_local(address) and not says_nothing(address)]
    return [address for address in found if address not in _BRIDGES] or found


def is_public(address: str) -> bool:
    """Is this address reachable from the internet?"""
    return ipaddress.ip_address(address).is_global


_MAC = re.compile(r"[0-9a-f]{2}(?:[:-]?[0-9a-f]{2}){5}|[0-9a-f]{4}\.[0-9a-f]{4}\.[0-9a-f]{4}", re.IGNORECASE)
_PLAIN_MAC = re.compile(r"[0-9a-f]{2}(?::[0-9a-f]{2}){5}")


def is_plain_mac(text: str) -> bool:
    """Is this a hardware address in its normal form?"""
    return _PLAIN_MAC.fullmatch(text) is not None


def parse_mac(text: str) -> str | None:
    """A hardware address as six pairs with colons, lower case; None when it is none."""
    if not _MAC.fullmatch(text):
        return None
    digits = re.sub(r"[:.-]", "", text).lower()
    return ":".join(digits[at : at + 2] for at in range(0, 12, 2))


def mac_says_nothing(mac: str) -> bool:
    """All zeros and all ones belong to no card."""
    return mac in {"00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"}


_NOT_DOMAINS = frozenset(
    {"old", "bak", "backup", "template", "tmp", "temp", "copy", "clone", "new", "orig", "decom", "test", "vm", "img", "ova",
     "restore"}
)  # fmt: skip
_FQDN = re.compile(
    r"^([a-z0-9_](?:[a-z0-9_-]*[a-z0-9])?)\.((?:[a-z0-9_-]+\.)*([a-z]{2,}|xn--[a-z0-9-]+))\.?$", re.IGNORECASE
)
_HOST = re.compile(r"^[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?$", re.IGNORECASE)


@lru_cache(maxsize=131072)
def split_fqdn(text: str) -> tuple[str, str] | None:
    """`web01.corp.local` -> (`web01`, `corp.local`); None when the rest is no domain (`vcenter7.0`, `web01.old`)."""
    found = _FQDN.match(text.strip()) if len(text) <= 260 else None
    if not found or found.group(2).lower() in _NOT_DOMAINS:
        return None
    return found.group(1), found.group(2)


def is_host_name(text: str) -> bool:
    """Could this be a host name by its letters (RFC 1123, and the underscore people use)?"""
    return bool(_HOST.match(text))
