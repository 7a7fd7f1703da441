"""Operating system names taken apart: family, product, version, edition, service pack, bits."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class OperatingSystem:
    """An operating system name taken apart; `version` None = not said; `family` windows, linux, unix, mainframe,
    hypervisor, network, storage or None."""

    family: str | None
    product: str
    version: str | None
    edition: str | None = None
    bits: int | None = None
    generic: bool = False
    """The name is a range or a choice (`2016 or later`, `4/5/6`), or says no product at all (`Other (32-bit)`)."""
    service_pack: str | None = None
    """`SP1`, `TL5`; of SUSE it is part of the version."""
    hint: str | None = None
    """What else the text lets one guess: the distribution a kernel was built for."""


MAX_CHARACTERS = 400
"""A longer text is no name of an operating system."""

_BITS = re.compile(
    r"\(?\b(32|64)[- ]?bits?\b\)?|\bx(86[ _-]64|64)\b|\b(x86|i[3-6]86)\b|\b(amd64|aarch64|arm64|ppc64(?:le)?|s390x|ia64)\b",
    re.IGNORECASE,
)
_EDITION = re.compile(
    r"\b(standard|enterprise|datacenter|data center|web|essentials|foundation|professional|pro|home|ultimate|business"
    r"|education|storage|azure edition|workstation)\b",
    re.IGNORECASE,
)
_LATER = re.compile(
    r"\b(?:or|and|und|oder|ou|o)\s*(?:later|newer|above|higher|greater|up|höher|neuer|ultérieur\w*|posterior\w*|superior\w*)\b"
    r"|(?<=\d)\s?\+(?!\w)",
    re.IGNORECASE,
)
_SERVICE_PACK = re.compile(r"\b(?:sp|service\s*pack)\s?(\d)\b", re.IGNORECASE)
_JOINED_PACK = re.compile(r"(?<=\d)sp(\d)\b", re.IGNORECASE)

# --- Windows ----------------------------------------------------------------------------------------------------

_WINDOWS_WORD = re.compile(
    r"\bwin(?:dows|dow|)(?=\b|\d|server|srv|nt)|\bw(?:in)?2k\d*(?:r2)?\b|\bwinsrv|\bms\s*server\b|^server\s*(?=20\d\d)|\bhyper-v\s*server\b"
    r"|\bsbs\s*(?=20(?:03|08|11)\b)",
    re.IGNORECASE,
)
_YEAR = re.compile(r"(?<![\d.])(20(?:00|03|08|12|16|19|22|25))(?![\d.]\d|\d)(?:\s*/\s*(20\d\d))?", re.IGNORECASE)
_SHORT_YEAR = re.compile(r"\bw(?:in)?(?:dows)?\s?2k(3|8|12|16|19|22|25)?(?=r2|\b)", re.IGNORECASE)
_SHORT_YEARS = {
    None: "2000",
    "3": "2003",
    "8": "2008",
    "12": "2012",
    "16": "2016",
    "19": "2019",
    "22": "2022",
    "25": "2025",
}
_R2 = re.compile(r"(?<=\d)r2\b|\br2\b", re.IGNORECASE)
_CLIENT = re.compile(r"\bwin(?:dows)?\s*(xp|vista|7|8\.1|8|10|11|95|98|me|nt)(?![\d.]*\d)\b", re.IGNORECASE)
_BUILD = re.compile(r"(?<!\d)(?:10\.0\.(\d{5})|6\.[0-3]\.(\d{4})|5\.2\.(3790))(?!\d)")
_SERVER_BUILDS = {
    "3790": "2003", "6001": "2008", "6002": "2008", "6003": "2008", "7600": "2008 R2", "7601": "2008 R2", "9200": "2012",
    "9600": "2012 R2", "14393": "2016", "17763": "2019", "20348": "2022", "26100": "2025",
}  # fmt: skip
"""Builds of the long-term releases, https://learn.microsoft.com/windows-server/get-started/windows-server-release-info"""
_CLIENT_BUILDS = {
    "6000": "Vista",
    "6001": "Vista",
    "6002": "Vista",
    "7600": "7",
    "7601": "7",
    "9200": "8",
    "9600": "8.1",
}
_SERVERS_ONLY = frozenset({"20348"})
_CLIENT_EDITIONS = frozenset({"Pro", "Professional", "Home", "Ultimate", "Business", "Workstation"})
_SEMI_ANNUAL = re.compile(r"\b(1709|1803|1809|1903|1909|2004|20H2|23H2|24H2)\b", re.IGNORECASE)


class _Text(NamedTuple):
    """A name made ready: bits and marks taken out."""

    bare: str
    lower: str
    bits: int | None
    edition: str | None
    later: bool
    service_pack: str | None


def _windows(text: _Text) -> OperatingSystem | None:
    if not _WINDOWS_WORD.search(text.bare):
        return None
    server = "server" in text.lower or "srv" in text.lower
    made: Callable[[str, str | None, bool], OperatingSystem] = lambda product, version, generic: OperatingSystem(  # noqa: E731
        "windows", product, version, text.edition, text.bits, generic, text.service_pack
    )
    if "small business" in text.lower or re.search(r"\bsbs\b", text.lower):
        year = re.search(r"\b20(?:03|08|11)\b", text.bare)
        return made("Windows Small Business Server", year.group(0) if year else None, False)
    client_found = None if server else _CLIENT.search(text.bare)
    if client_found and client_found.group(1).lower() != "nt":
        # the year behind it is that of a release: `Windows 10 Enterprise LTSC 2019`
        said = client_found.group(1)
        release = said.upper() if said.lower() in {"xp", "me"} else said.title()
        return made("Windows", release + (" or later" if text.later else ""), text.later)
    product = "Hyper-V Server" if "hyper-v server" in text.lower else "Windows Server"
    dated = _YEAR.search(text.bare)
    short = None if dated else _SHORT_YEAR.search(text.bare)
    if dated or short:
        version = dated.group(1) if dated else _SHORT_YEARS[short.group(1)] if short else ""
        client = version == "2000" and not server and text.edition == "Professional"
        version += " R2" if _R2.search(text.bare) else ""
        generic = text.later
        if dated and dated.group(2):
            version, generic = f"{version}/{dated.group(2)}", True
        if text.later:
            version += " or later"
        return made("Windows" if client else product, version, generic)
    number = re.search(r"\bnt\s*(?:server\s*|workstation\s*)?(4\.\d+)", text.lower)
    if number:
        return made("Windows NT", number.group(1), False)
    return _by_build(text, made, server)


def _by_build(text: _Text, made: Callable[[str, str | None, bool], OperatingSystem], server: bool) -> OperatingSystem:
    """Windows named without a year: told by its build, else only that it is Windows."""
    found = _BUILD.search(text.bare)
    if found:
        build = found.group(1) or found.group(2) or found.group(3)
        of_server = _SERVER_BUILDS.get(build)
        of_client = _CLIENT_BUILDS.get(build)
        if of_client is None and found.group(1) and build not in _SERVERS_ONLY:
            of_client = "11" if int(build) >= 22000 else "10"
        if server or of_client is None:
            if of_server is not None:
                return made("Windows Server", of_server, False)
        elif of_server is None or text.edition in _CLIENT_EDITIONS:
            return made("Windows", of_client, False)
        else:
            hint = f"build {build} is that of Windows {of_client} and of Windows Server {of_server}"
            return replace(made("Windows", None, True), hint=hint)
    semi = _SEMI_ANNUAL.search(text.bare) if server else None
    return made("Windows Server" if server else "Windows", semi.group(1).upper() if semi else None, False)


# --- the others -------------------------------------------------------------------------------------------------

_NUMBER = r"\d+(?:\.\d+){0,2}(?:\s*/\s*\d+(?:\.\d+)?)*"
_UBUNTU = {"warty": "4.10", "lucid": "10.04", "precise": "12.04", "trusty": "14.04", "xenial": "16.04", "bionic": "18.04",
           "focal": "20.04", "jammy": "22.04", "noble": "24.04"}  # fmt: skip
_DEBIAN = {"squeeze": "6", "wheezy": "7", "jessie": "8", "stretch": "9", "buster": "10", "bullseye": "11",
           "bookworm": "12", "trixie": "13"}  # fmt: skip
_RED_HAT = {"tikanga": "5", "santiago": "6", "maipo": "7", "ootpa": "8", "plow": "9", "coughlan": "10"}


class _Product(NamedTuple):
    family: str
    name: str
    pattern: str
    number: str = _NUMBER
    code_names: dict[str, str] | None = None
    normal: Callable[[str, str], str] | None = None
    """(version as found, whole text) -> version as we write it"""


def _suse(version: str, text: str) -> str:
    if "/" in version:
        return version
    pack = _SERVICE_PACK.search(text) or _JOINED_PACK.search(text)
    major, _, minor = version.partition(".")
    level = pack.group(1) if pack else minor.split(".")[0]
    return f"{major} SP{level}" if level and level != "0" else major


def _ubuntu(version: str, text: str) -> str:
    return f"{version[:2]}.{version[2:]}" if re.fullmatch(r"\d{2}(?:04|10)", version) else version


def _solaris(version: str, text: str) -> str:
    return version.removeprefix("5.") if "sunos" in text.lower() else version


def _aix(version: str, text: str) -> str:
    level = re.search(r"\b(\d)(\d)00-\d\d\b", text)
    return f"{level.group(1)}.{level.group(2)}" if level else ".".join(version.split(".")[:2])


def _hp_ux(version: str, text: str) -> str:
    release = re.search(r"11i\s*v\s*([123])", text, re.IGNORECASE)
    return {"1": "11.11", "2": "11.23", "3": "11.31"}[release.group(1)] if release else version


def _release(version: str, text: str) -> str:
    return re.sub(r"^v?(\d+)r(\d+).*$", r"\1.\2", version, flags=re.IGNORECASE)


_RELEASE = r"[vV]?\d+[rR]\d+(?:[mM]\d+)?|\d+(?:\.\d+)*"
_TRAIN = r"\d+(?:\.\d+)+(?:\(\d+[a-zA-Z]*\)[A-Za-z0-9]*)*|\d+(?:\.\d+)*[A-Za-z]?"
_PRODUCTS = (
    _Product("hypervisor", "VMware ESXi", r"\besxi(?![a-z])|\bvmware\s*esx\b|\besx(?=\s*\d|\s*server|$)"),
    _Product("hypervisor", "Citrix Hypervisor", r"\bxenserver\b|\bcitrix\s*hypervisor\b"),
    _Product("hypervisor", "Nutanix AHV", r"\bnutanix\s*ahv\b|\bahv\b"),
    _Product("hypervisor", "Proxmox VE", r"\bproxmox(?:\s*ve)?\b"),
    _Product("hypervisor", "Oracle VM Server", r"\boracle\s*vm(?:\s*server)?\b"),
    _Product("hypervisor", "IBM PowerVM VIOS", r"\bvios\b"),
    _Product("linux", "VMware Photon OS", r"\bphoton(?:\s*os|\s*linux)?\b"),
    _Product("linux", "Amazon Linux", r"\bamazon\s*linux(?:\s*ami)?\b|\bamzn\b", r"20\d\d(?:\.\d+)?|\d+(?:\.\d+)*"),
    _Product("linux", "CentOS Stream", r"\bcentos(?:\s*linux)?\s*stream\b"),
    _Product("linux", "CentOS", r"\bcent\s*os(?![a-z])(?:\s*linux)?"),
    _Product("linux", "Fedora", r"\bfedora(?![a-z])"),
    _Product("linux", "Rocky Linux", r"\brocky\s*linux|\brocky(?=\s*\d|\s*$|\s*release)"),
    _Product("linux", "AlmaLinux", r"\balma\s*linux|\balma(?=\s*\d)"),
    _Product("linux", "Scientific Linux", r"\bscientific\s*linux\b"),
    _Product("linux", "Oracle Linux", r"\boracle\s*(?:enterprise\s*|unbreakable\s*)?linux(?:\s*server)?(?![a-z])|\boel(?=\b|\d)|\bol(?=\d)"),
    _Product("linux", "Red Hat Enterprise Linux CoreOS", r"\bred\s*hat\s*(?:enterprise\s*linux\s*)?coreos\b|\brhcos\b"),
    _Product("linux", "Red Hat Enterprise Linux", r"\bred\s*hat(?:\s*enterprise)?(?:\s*linux)?(?![a-z])|\brhel(?![a-z])|\blinux\s+red\s*hat\b", _NUMBER, _RED_HAT),
    _Product("linux", "openSUSE", r"\bopen\s*suse(?:\s*leap)?(?![a-z])", r"\d+\.\d+|\d+|tumbleweed"),
    _Product("linux", "SUSE Linux Enterprise Server", r"\bsuse\s*linux\s*enterprise(?:\s*server)?(?![a-z])|\bsle[sd](?![a-z])|\bsle(?=\s*\d)|\bsuse\b", _NUMBER, None, _suse),
    _Product("linux", "Ubuntu", r"\bubuntu(?:\s*linux)?(?:\s*server)?(?![a-z])", _NUMBER, _UBUNTU, _ubuntu),
    _Product("linux", "Raspberry Pi OS", r"\braspbian\b|\braspberry\s*pi\s*os\b"),
    _Product("linux", "Debian", r"\bdebian(?:\s*gnu/linux|\s*gnu|\s*linux)?(?![a-z])", _NUMBER, _DEBIAN),
    _Product("linux", "Alpine Linux", r"\balpine\s*linux\b|\balpine(?=\s*\d)"),
    _Product("linux", "Flatcar Container Linux", r"\bflatcar\b"),
    _Product("linux", "CoreOS", r"\bcoreos\b"),
    _Product("linux", "Container-Optimized OS", r"\bcontainer[- ]optimized\s*os\b"),
    _Product("linux", "Bottlerocket", r"\bbottlerocket\b"),
    _Product("linux", "Azure Linux", r"\bcbl-?mariner\b|\bazure\s*linux\b"),
    _Product("linux", "openEuler", r"\bopen\s*euler\b"),
    _Product("linux", "EulerOS", r"\beuler\s*os\b"),
    _Product("linux", "Kylin", r"\bkylin\b"),
    _Product("linux", "Anolis OS", r"\banolis\b"),
    _Product("linux", "Asianux", r"\basianux\b"),
    _Product("linux", "CloudLinux", r"\bcloud\s?linux\b"),
    _Product("linux", "Virtuozzo", r"\bvirtuozzo\b"),
    _Product("linux", "Kali Linux", r"\bkali(?:\s*linux)?\b"),
    _Product("linux", "Linux Mint", r"\blinux\s*mint\b"),
    _Product("linux", "Arch Linux", r"\barch\s*linux\b"),
    _Product("linux", "Gentoo", r"\bgentoo\b"),
    _Product("linux", "Novell Open Enterprise Server", r"\b(?:novell\s*)?open\s*enterprise\s*server\b"),
    _Product("unix", "AIX", r"\baix(?![a-z])", r"\d+(?:\.\d+)*", None, _aix),
    _Product("unix", "Solaris", r"\bsolaris(?![a-z])|\bsunos(?![a-z])", r"\d+(?:\.\d+){0,2}(?:/\d{1,2}(?!\d))*", None, _solaris),
    _Product("unix", "HP-UX", r"\bhp-?ux(?![a-z])", r"\d+\.\d+|11(?=i)", None, _hp_ux),
    _Product("unix", "pfSense", r"\bpf\s?sense\b"),
    _Product("unix", "FreeBSD", r"\bfreebsd(?![a-z])"),
    _Product("unix", "OpenBSD", r"\bopenbsd(?![a-z])"),
    _Product("unix", "NetBSD", r"\bnetbsd(?![a-z])"),
    _Product("unix", "macOS", r"\bmac\s*os(?:\s*x)?(?![a-z])"),
    _Product("unix", "Tru64 UNIX", r"\btru64\b"),
    _Product("unix", "IRIX", r"\birix\b"),
    _Product("unix", "SCO OpenServer", r"\bsco\s*open\s*server\b|\bopenserver\b"),
    _Product("unix", "UnixWare", r"\bunixware\b"),
    _Product("mainframe", "OpenVMS", r"\bopenvms\b"),
    _Product("mainframe", "IBM i", r"\bibm\s*i(?=\s*(?:v|\d|os|$))|\bi5/?os\b|\bos/?400\b", _RELEASE, None, _release),
    _Product("mainframe", "z/OS", r"\bz/?os\b", _RELEASE, None, _release),
    _Product("mainframe", "z/VM", r"\bz/vm\b", _RELEASE, None, _release),
    _Product("mainframe", "HPE NonStop", r"\bnonstop\b"),
    _Product("network", "Cisco IOS XE", r"\bios[- ]?xe\b", _TRAIN),
    _Product("network", "Cisco IOS XR", r"\bios[- ]?xr\b", _TRAIN),
    _Product("network", "Cisco NX-OS", r"\bnx-?os\b", _TRAIN),
    _Product("network", "Cisco ASA", r"\bcisco\s*asa\b", _TRAIN),
    _Product("network", "Cisco IOS", r"\bcisco\s*ios\b|\bcisco\s+internetwork\s+operating\s+system\b", _TRAIN),
    _Product("network", "Junos", r"\bjunos(?![a-z])", r"\d+\.\d+(?:[RXS]\d+(?:[-.][A-Za-z0-9.]+)*)?"),
    _Product("network", "Arista EOS", r"\barista(?:\s*eos)?\b", r"\d+(?:\.\d+)+[A-Z]?"),
    _Product("network", "ArubaOS", r"\baruba\s*os\b"),
    _Product("network", "F5 BIG-IP", r"\bbig-?ip\b|\btmos\b", r"\d+(?:\.\d+)*"),
    _Product("network", "Citrix ADC", r"\bnetscaler(?:\s*ns)?|\bcitrix\s*adc(?:\s*ns)?"),
    _Product("network", "PAN-OS", r"\bpan-?os(?![a-z])"),
    _Product("network", "FortiOS", r"\bforti\s*os(?![a-z])"),
    _Product("network", "Check Point Gaia", r"\bgaia\b|\bcheck\s*point(?:\s*gaia)?(?=\s*r\d)", r"R\d+(?:\.\d+)*"),
    _Product("network", "Comware", r"\bcomware\b"),
    _Product("network", "RouterOS", r"\brouteros\b"),
    _Product("network", "Cumulus Linux", r"\bcumulus\s*linux\b"),
    _Product("network", "VyOS", r"\bvyos\b"),
    _Product("storage", "NetApp ONTAP", r"\b(?:data\s*)?ontap\b", r"\d+\.\d+(?:\.\d+)*(?:P\d+)?"),
    _Product("storage", "OneFS", r"\bonefs\b"),
    _Product("storage", "Data Domain OS", r"\bdata\s*domain\s*os\b|\bddos(?=\s*\d)"),
    _Product("storage", "Synology DSM", r"\bsynology(?:\s*dsm)?\b"),
    _Product("storage", "QNAP QTS", r"\bqnap(?:\s*qts)?\b|\bqts\b"),
    _Product("network", "Novell NetWare", r"\bnetware\b"),
)  # fmt: skip
_COMPILED = tuple(
    (
        product,
        re.compile(f"(?:{product.pattern})(?:[^\\d]{{0,40}}?({product.number}))?", re.IGNORECASE),
        re.compile(product.pattern, re.IGNORECASE),
    )
    for product in _PRODUCTS
)
_ANY_PRODUCT = re.compile("|".join(f"(?:{product.pattern})" for product in _PRODUCTS), re.IGNORECASE)
_LINUX = re.compile(r"\blinux\b|\bgnu/linux\b", re.IGNORECASE)
_OTHER = re.compile(
    r"^(?:other|anderes?|autre|otro)(?:\s*\(?.*\)?)?$|^(?:other|unknown)\s+(?:guest|os|operating system)", re.IGNORECASE
)
_UNIX = re.compile(r"^(?:unix|bsd)$", re.IGNORECASE)
_KERNEL = re.compile(r"\blinux\b.*?(?<![\d.])(\d\.\d+(?:\.\d+)?-[\w.~+-]+|\d\.\d+\.\d+)", re.IGNORECASE)
_KERNEL_SERIES = re.compile(r"\b(\d(?:\.\d)?\.x)\b", re.IGNORECASE)
_AMAZON_KERNEL = re.compile(r"\bamzn(1|2023|2)\b", re.IGNORECASE)
_KERNEL_OF = (
    (re.compile(r"\.el(\d+)uek|uek\.el(\d+)", re.IGNORECASE), "Oracle Linux {}"),
    (re.compile(r"[._]el(\d+)", re.IGNORECASE), "Red Hat Enterprise Linux {} or one of its like"),
    (re.compile(r"\.fc(\d+)", re.IGNORECASE), "Fedora {}"),
    (re.compile(r"[+.-]deb(\d+)", re.IGNORECASE), "Debian {}"),
    (re.compile(r"-\d+-(?:generic|aws|azure|gcp)\b", re.IGNORECASE), "Ubuntu"),
    (re.compile(r"-default\b", re.IGNORECASE), "SUSE Linux Enterprise Server"),
)


def _kernel(text: _Text, cleaned: str) -> OperatingSystem | None:
    """A kernel's name (`Linux 3.10.0-1160.el7.x86_64`) says what it was built for, not what is installed."""
    amazon = _AMAZON_KERNEL.search(cleaned)
    if amazon:
        return OperatingSystem("linux", "Amazon Linux", amazon.group(1), None, text.bits)
    found = _KERNEL.search(cleaned)
    if not found or _ANY_PRODUCT.search(text.bare):
        return None
    hint = f"kernel {found.group(1).removesuffix('.x86')}"
    for pattern, words in _KERNEL_OF:
        built = pattern.search(found.group(1))
        if built:
            numbers = [number for number in built.groups() if number]
            hint = f"{hint}, built for {words.format(*numbers)}"
            break
    return OperatingSystem("linux", "Linux", None, None, text.bits, True, None, hint)


def _product(text: _Text) -> OperatingSystem | None:
    for product, numbered, named in _COMPILED:
        if not named.search(text.bare):
            continue
        found = next((one for one in numbered.finditer(text.bare) if one.group(1)), None)
        version = found.group(1).replace(" ", "") if found else None
        if version is None and product.code_names:
            version = next(
                (number for word, number in product.code_names.items() if re.search(rf"\b{word}\b", text.lower)), None
            )
        if product.normal is not None and (
            version is not None or "11i" in text.lower or re.search(r"\d{4}-\d\d", text.bare)
        ):
            version = product.normal(version or "", text.bare) or None
        generic = bool(version and "/" in version) or text.later
        if version and text.later:
            version += " or later"
        if product.name == "FreeBSD" and re.search(r"\bpre-?11\b", text.lower):
            version, generic = None, True
        edition = _suse_edition(text.lower) if product.name == "SUSE Linux Enterprise Server" else None
        level = re.search(r"\bTL\s?(\d+)\b", text.bare, re.IGNORECASE) if product.name == "AIX" else None
        return OperatingSystem(
            product.family, product.name, version, edition, text.bits, generic, f"TL{level.group(1)}" if level else None
        )
    return None


def _suse_edition(lower: str) -> str | None:
    if re.search(r"\bsap\b", lower):
        return "SAP"
    return "Desktop" if re.search(r"\bdesktop\b|\bsled(?![a-z])", lower) else None


def _made_ready(cleaned: str) -> _Text:
    bits_found = _BITS.search(cleaned)
    bits = (32 if "32" in bits_found.group(0) or bits_found.group(3) else 64) if bits_found else None
    bare = _BITS.sub(" ", cleaned)
    edition_found = _EDITION.search(bare)
    edition = edition_found.group(1).title().replace("Data Center", "Datacenter") if edition_found else None
    pack = _SERVICE_PACK.search(bare) or _JOINED_PACK.search(bare)
    return _Text(bare, bare.lower(), bits, edition, bool(_LATER.search(bare)), f"SP{pack.group(1)}" if pack else None)


@lru_cache(maxsize=16384)
def parse_os(text: str) -> OperatingSystem | None:
    """Take an operating system name apart; None when nothing in it is known.

    Reads names as inventories, hypervisors (`rhel7_64Guest`) and programs (`uname -a`) write them.
    """
    if len(text) > MAX_CHARACTERS:
        return None
    guest = _guest(text.strip())
    if guest is not None:
        return guest
    cleaned = " ".join(re.sub(r"[®™_]|\((?:r|tm)\)", " ", text, flags=re.IGNORECASE).split())
    ready = _made_ready(cleaned)
    system = _kernel(ready, cleaned) or _windows(ready) or _product(ready)
    if system is not None:
        return system
    if _LINUX.search(ready.bare):
        series = _KERNEL_SERIES.search(ready.bare)
        other = ready.lower.startswith("other")
        hint = f"kernel {series.group(1)}" if series else None
        return OperatingSystem("linux", "Linux", None, None, ready.bits, other or bool(series), None, hint)
    if _UNIX.match(ready.bare.strip()):
        return OperatingSystem("unix", "UNIX", None, None, ready.bits, True)
    if _OTHER.match(cleaned):
        return OperatingSystem(None, "Other", None, None, ready.bits, True)
    return None


# --- guest identifiers of vSphere -------------------------------------------------------------------------------

_GUEST = re.compile(r"([a-zA-Z][a-zA-Z0-9]*?)(?:_?(64))?guest(64)?", re.IGNORECASE)
_WINDOWS_GUESTS = {
    "winnetenterprise": ("Windows Server", "2003", "Enterprise"), "winnetstandard": ("Windows Server", "2003", "Standard"),
    "winnetdatacenter": ("Windows Server", "2003", "Datacenter"), "winnetweb": ("Windows Server", "2003", "Web"),
    "winnetbusiness": ("Windows Small Business Server", "2003", None), "win2000serv": ("Windows Server", "2000", None),
    "win2000advserv": ("Windows Server", "2000", None), "win2000pro": ("Windows", "2000", "Professional"),
    "winlonghorn": ("Windows Server", "2008", None), "windows7server": ("Windows Server", "2008 R2", None),
    "windows8server": ("Windows Server", "2012", None), "windows9server": ("Windows Server", "2016 or later", None),
    "windows2019srv": ("Windows Server", "2019", None), "windows2019srvnext": ("Windows Server", "2022", None),
    "windows2022srvnext": ("Windows Server", "2025", None), "winxphome": ("Windows", "XP", "Home"),
    "winxppro": ("Windows", "XP", "Professional"), "winvista": ("Windows", "Vista", None),
    "windows7": ("Windows", "7", None), "windows8": ("Windows", "8", None), "windows9": ("Windows", "10", None),
    "windows11": ("Windows", "11", None), "windowshyperv": ("Hyper-V Server", None, None),
}  # fmt: skip
"""`VirtualMachineGuestOsIdentifier` of the vSphere Web Services API."""
_OTHER_GUESTS: dict[str, tuple[str, str]] = {
    "rhel": ("linux", "Red Hat Enterprise Linux"), "centos": ("linux", "CentOS"), "oraclelinux": ("linux", "Oracle Linux"),
    "sles": ("linux", "SUSE Linux Enterprise Server"), "suse": ("linux", "SUSE Linux Enterprise Server"),
    "ubuntu": ("linux", "Ubuntu"), "debian": ("linux", "Debian"), "fedora": ("linux", "Fedora"),
    "opensuse": ("linux", "openSUSE"), "amazonlinux": ("linux", "Amazon Linux"), "rockylinux": ("linux", "Rocky Linux"),
    "almalinux": ("linux", "AlmaLinux"), "vmwarephoton": ("linux", "VMware Photon OS"), "coreos": ("linux", "CoreOS"),
    "asianux": ("linux", "Asianux"), "freebsd": ("unix", "FreeBSD"), "solaris": ("unix", "Solaris"),
    "darwin": ("unix", "macOS"), "openserver": ("unix", "SCO OpenServer"), "unixware": ("unix", "UnixWare"),
    "netware": ("network", "Novell NetWare"), "vmkernel": ("hypervisor", "VMware ESXi"),
    "other": ("", "Other"), "otherlinux": ("linux", "Linux"), "genericlinux": ("linux", "Linux"),
}  # fmt: skip
_GUEST_VERSIONS = {
    ("CentOS", ""): ("4/5 or later", True), ("Oracle Linux", ""): ("4/5 or later", True), ("FreeBSD", ""): (None, True),
    ("VMware ESXi", ""): ("4", False), ("VMware ESXi", "65"): ("6.5", False), ("VMware ESXi", "7"): ("7.0", False),
    ("VMware ESXi", "8"): ("8.0", False), ("VMware ESXi", "9"): ("9.0", False), ("Amazon Linux", "3"): (None, True),
}  # fmt: skip
_KERNEL_GUEST = re.compile(r"other(\d)(\d)?xlinux")


def _guest(text: str) -> OperatingSystem | None:
    found = _GUEST.fullmatch(text)
    if found is None:
        return None
    name, bits = found.group(1).lower(), 64 if found.group(2) or found.group(3) else 32
    windows = _WINDOWS_GUESTS.get(name)
    if windows is not None:
        product, version, edition = windows
        return OperatingSystem("windows", product, version, edition, bits, bool(version and "later" in version))
    kernel = _KERNEL_GUEST.fullmatch(name)
    if kernel is not None:
        series = f"{kernel.group(1)}.{kernel.group(2)}.x" if kernel.group(2) else f"{kernel.group(1)}.x"
        return OperatingSystem("linux", "Linux", None, None, bits, True, None, f"kernel {series}")
    word = name.rstrip("0123456789")
    if word not in _OTHER_GUESTS:
        return None
    family, product = _OTHER_GUESTS[word]
    number = name[len(word) :]
    version, generic = _GUEST_VERSIONS.get((product, number), (number or None, product in {"Linux", "Other"}))
    if word == "darwin":
        version = None
    return OperatingSystem(family or None, product, version, None, None if family == "hypervisor" else bits, generic)
