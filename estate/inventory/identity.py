"""What identifies a machine, in a form in which two writings of one identity are equal; what identifies none is None."""

from __future__ import annotations

import re
from functools import lru_cache

_HEX32 = re.compile(r"[0-9a-f]{32}")
_VMWARE_SERIAL = re.compile(r"^vmware-((?:[0-9a-f]{2}[ -]?){16})$", re.IGNORECASE)
_SHARED_UUIDS = frozenset(
    {
        "0" * 32,
        "f" * 32,
        "03000200040005000006000700080009",
        "00020003000400050006000700080009",
        "123456781234567890abcdeffedcba09",
        "12345678123456781234567812345678",
        "4c4c454400002010802080c04f202020",
        "fefefefefefefefefefefefefefefefe",
    }
)
"""Identifiers that boards carry from the factory where nobody set one."""
_NO_SERIALS = frozenset(
    {
        "none", "not specified", "not available", "not applicable", "system serial number", "serial number", "default",
        "default string", "to be filled by o.e.m.", "to be filled by oem", "chassis serial number", "o.e.m.", "oem",
        "empty", "invalid", "n/a", "na", "unknown", "vmware", "virtual", "virtual machine", "xxxxxxx", "123456789",
        "1234567890", "0123456789",
    }
)  # fmt: skip
_CLUSTER_MACS = ("02:bf:", "03:bf:", "00:00:0c:07:ac:", "00:00:0c:9f:f", "00:07:b4:", "00:00:5e:00:01:", "02:42:")
"""Network load balancing, HSRP, GLBP, VRRP, and the bridge that every container host makes itself."""
_VIRTUAL_LOCAL = ("52:54:00:",)
"""A prefix that KVM gives out although it is in the locally administered range."""
_GENERIC_HOSTS = frozenset(
    {
        "localhost", "localhost4", "localhost6", "host", "server", "linux", "windows", "ubuntu", "debian", "centos",
        "rhel", "redhat", "template", "vm", "computer", "machine", "photon", "photon-machine", "raspberrypi", "kali",
        "sles", "suse", "oracle", "unknown", "changeme", "default", "new-host", "appliance", "esxi", "ip",
    }
)  # fmt: skip
MOREF = re.compile(r"^(?:vm|host|domain-c|group-v)-?\d+$", re.IGNORECASE)
"""A vCenter's own reference of an object: unique in that vCenter only."""
_CLOUDS = ("/subscriptions/", "arn:")
NETBIOS_LENGTH = 15
_PUNCTUATION = str.maketrans("", "", "-{} :")


def _other_order(d: str) -> str:
    """The same 16 bytes with the first three groups in the other byte order."""
    return d[6:8] + d[4:6] + d[2:4] + d[:2] + d[10:12] + d[8:10] + d[14:16] + d[12:14] + d[16:]


def _digits(text: str) -> str | None:
    """The 32 hexadecimal digits of a UUID, None where a text is none."""
    if not 32 <= len(text) <= 48:
        return None
    digits = text.translate(_PUNCTUATION).lower()
    return digits if _HEX32.fullmatch(digits) else None


def uuid_key(text: str) -> str | None:
    """A UUID as a key: hexadecimal digits, the same for both byte orders in which SMBIOS tables are read.

    SMBIOS 2.6 (chapter 7.2.1) has the first three groups little-endian and older readers show them big-endian, so one
    machine has two spellings. A text that is no UUID is its own key. None: nobody set it.
    """
    digits = _digits(text)
    if digits is None:
        bare = text.strip().lower()
        return None if set(bare) <= set("0-. ") or bare in _NO_SERIALS else bare
    if digits in _SHARED_UUIDS or len(set(digits)) == 1:
        return None
    return min(digits, _other_order(digits))


def is_instance_uuid(text: str) -> bool:
    """Is this a UUID that a vCenter made for its own use, not that of the machine's (virtual) hardware?

    vSphere makes instance UUIDs that begin with `50` (a vCenter) or `52` (a host alone), and hardware UUIDs that begin
    with `42` or `564d`.
    """
    return text.strip().startswith(("50", "52")) and is_uuid(text)


def is_uuid(text: str) -> bool:
    """Is this 32 hexadecimal digits, with or without dashes?"""
    return _digits(text) is not None


def serial_key(text: str) -> tuple[str | None, str | None]:
    """(serial number as a key, UUID it spells): `VMware-42 1d ...` is a UUID, and so is that of a cloud's machine."""
    bare = " ".join(text.split()).lower()
    if len(bare) >= 32:
        spelled = _VMWARE_SERIAL.match(bare)
        digits = _digits(spelled.group(1) if spelled else bare)
        if digits is not None:
            return None, uuid_key(digits)
    if bare in _NO_SERIALS or len(bare) < 4 or bare == bare[0] * len(bare):
        return None, None
    return bare, None


@lru_cache(maxsize=65536)
def mac_is_key(mac: str) -> bool:
    """Does this hardware address belong to one machine? Not zeros, groups, clusters, or what a host made up itself."""
    first = int(mac[:2], 16)
    if first & 1 or mac.startswith(_CLUSTER_MACS) or mac.startswith("00:00:00:00:"):
        return False
    return not first & 2 or mac.startswith(_VIRTUAL_LOCAL)


def is_generic_host(host: str) -> bool:
    """Is this a host name that installers leave behind?"""
    return host in _GENERIC_HOSTS


@lru_cache(maxsize=65536)
def squashed(name: str) -> str:
    """A name without what people leave out or put in: `WEB-01` and `web_01` are alike."""
    return re.sub(r"[^a-z0-9]+", "", name.lower())


def similar(one: str, other: str) -> bool:
    """Are these two spellings of one name: punctuation apart, or cut to the 15 characters of NetBIOS?"""
    if squashed(one) == squashed(other) != "":
        return True
    short, long = sorted((one, other), key=len)
    return len(short) == NETBIOS_LENGTH < len(long) and long.startswith(short)


def external_key(kind: str, field: str, value: str, vcenter: str | None) -> tuple[str, bool]:
    """(key of a source's own id, does it identify across names): only ids of one issuer can be compared.

    A reference of vCenter needs the vCenter; an id that is unique in the world (a UUID, a cloud resource) needs none;
    others count within one kind of export. Plain lists number as they like: theirs count under one column name, and
    only for rows of one name or of none.
    """
    bare = value.strip().lower()
    if MOREF.match(bare):
        return (f"vcenter|{vcenter}|{bare}", True) if vcenter else (f"{_family(kind, field)}|{bare}", False)
    if is_uuid(bare):
        return f"uuid|{uuid_key(bare)}", True
    if bare.startswith(_CLOUDS):
        return f"cloud|{bare}", True
    return f"{_family(kind, field)}|{bare}", "." in kind


def identifies(external: str) -> bool:
    """Can an id whose source is not told be found again under another name? Not a vCenter's reference, which each vCenter
    counts from 1, nor a bare number, which any list does."""
    bare = external.strip()
    return MOREF.match(bare) is None and not bare.isdecimal()


def _family(kind: str, field: str) -> str:
    family, dot, _ = kind.partition(".")
    return family if dot else f"list {' '.join(re.findall(r'[a-z0-9]+', field.lower()))}"
