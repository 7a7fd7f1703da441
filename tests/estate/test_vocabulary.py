from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estate.vocabulary import (
    ASSET_TYPES,
    CRITICALITIES,
    ENVIRONMENTS,
    PLACEHOLDERS,
    POWER_STATES,
    asset_type_of,
    boolean_of,
    criticality_of,
    environment_of,
    folded,
    is_placeholder,
    is_plain_ipv4,
    is_public,
    parse_ip,
    parse_mac,
    parse_os,
    power_state_of,
    says_nothing,
    special_address,
    telling,
)

W, L, U, N = "windows", "linux", "unix", "network"


@pytest.mark.parametrize(
    ("text", "family", "product", "version"),
    [
        ("Microsoft Windows Server 2016 or later (64-bit)", W, "Windows Server", "2016 or later"), ("Win2k12R2", W, "Windows Server", "2012 R2"),
        ("W2K16", W, "Windows Server", "2016"), ("Windows Server 2008 R2 Enterprise SP1", W, "Windows Server", "2008 R2"),
        ("MS Windows Server Standard 2012 R2", W, "Windows Server", "2012 R2"), ("Windows Server 2012 Standard R2", W, "Windows Server", "2012 R2"),
        ("Windows Server 2012R2", W, "Windows Server", "2012 R2"), ("win2019", W, "Windows Server", "2019"), ("Windows Server 2025 Datacenter", W, "Windows Server", "2025"),
        ("Microsoft(R) Windows(R) Server 2003, Enterprise x64 Edition", W, "Windows Server", "2003"), ("Windows Server® 2008", W, "Windows Server", "2008"),
        ("Windows Storage Server 2012 R2", W, "Windows Server", "2012 R2"), ("Hyper-V Server 2016", W, "Hyper-V Server", "2016"),
        ("Windows Server 2019/2022", W, "Windows Server", "2019/2022"), ("Windows Server 20H2", W, "Windows Server", "20H2"),
        ("Windows Server 10.0.20348", W, "Windows Server", "2022"), ("Windows Server 6.3.9600", W, "Windows Server", "2012 R2"),
        ("Windows Small Business Server 2011 Standard", W, "Windows Small Business Server", "2011"), ("Windows 2000 Professional", W, "Windows", "2000"),
        ("Microsoft Windows 10 (64-bit)", W, "Windows", "10"), ("Windows 11 Enterprise 23H2", W, "Windows", "11"), ("Windows 10.0.22631", W, "Windows", "11"),
        ("Win7", W, "Windows", "7"), ("Windows XP Professional", W, "Windows", "XP"), ("Windows NT 4.0", W, "Windows NT", "4.0"), ("Windows", W, "Windows", None),
        ("Windows Server", W, "Windows Server", None), ("Red Hat Enterprise Linux Server release 7.9 (Maipo)", L, "Red Hat Enterprise Linux", "7.9"),
        ("rhel7.9", L, "Red Hat Enterprise Linux", "7.9"), ("RHEL (Ootpa)", L, "Red Hat Enterprise Linux", "8"), ("Red Hat Enterprise Linux 8.x", L, "Red Hat Enterprise Linux", "8"),
        ("CentOS 4/5 or later (64-bit)", L, "CentOS", "4/5 or later"), ("centos7", L, "CentOS", "7"), ("CentOS Linux release 7.9.2009 (Core)", L, "CentOS", "7.9.2009"),
        ("CentOS Stream release 9", L, "CentOS Stream", "9"), ("Rocky Linux 9.3 (Blue Onyx)", L, "Rocky Linux", "9.3"), ("AlmaLinux 8", L, "AlmaLinux", "8"),
        ("Ubuntu 22.04.3 LTS", L, "Ubuntu", "22.04.3"), ("ubuntu2204", L, "Ubuntu", "22.04"), ("Ubuntu Xenial", L, "Ubuntu", "16.04"), ("Ubuntu Linux (64-bit)", L, "Ubuntu", None),
        ("Debian GNU/Linux 10 (buster)", L, "Debian", "10"), ("Debian bookworm", L, "Debian", "12"), ("SLES 12 SP5", L, "SUSE Linux Enterprise Server", "12 SP5"),
        ("sles15sp4", L, "SUSE Linux Enterprise Server", "15 SP4"), ("SUSE Linux Enterprise 12 (64-bit)", L, "SUSE Linux Enterprise Server", "12"),
        ("SUSE Linux Enterprise Server 15 SP3 for SAP Applications", L, "SUSE Linux Enterprise Server", "15 SP3"), ("openSUSE Leap 15.6", L, "openSUSE", "15.6"),
        ("Oracle Linux Server 8.9", L, "Oracle Linux", "8.9"), ("OEL 6.10", L, "Oracle Linux", "6.10"), ("OL8", L, "Oracle Linux", "8"),
        ("Amazon Linux 2", L, "Amazon Linux", "2"), ("Amazon Linux AMI 2018.03", L, "Amazon Linux", "2018.03"), ("Amazon Linux 2023.3", L, "Amazon Linux", "2023.3"),
        ("VMware Photon OS 4.0", L, "VMware Photon OS", "4.0"), ("Fedora 39", L, "Fedora", "39"), ("Alpine Linux 3.17", L, "Alpine Linux", "3.17"),
        ("Oracle Solaris 11.4", U, "Solaris", "11.4"), ("SunOS 5.10", U, "Solaris", "10"), ("AIX 7200-05-03", U, "AIX", "7.2"), ("IBM AIX 7.1.0.0", U, "AIX", "7.1"),
        ("HP-UX B.11.31", U, "HP-UX", "11.31"), ("HP-UX 11i v3", U, "HP-UX", "11.31"), ("FreeBSD 12 (64-bit)", U, "FreeBSD", "12"), ("macOS 13.4", U, "macOS", "13.4"),
        ("IBM i 7.3", "mainframe", "IBM i", "7.3"), ("OS/400 V5R4", "mainframe", "IBM i", "5.4"), ("z/OS V2R4", "mainframe", "z/OS", "2.4"),
        ("VMware ESXi 7.0.3 build-19193900", "hypervisor", "VMware ESXi", "7.0.3"), ("Cisco IOS 15.2(4)E8", N, "Cisco IOS", "15.2(4)E8"),
        ("Cisco NX-OS 9.3(5)", N, "Cisco NX-OS", "9.3(5)"), ("JUNOS 20.4R3-S8", N, "Junos", "20.4R3-S8"), ("FortiOS v6.4.5", N, "FortiOS", "6.4.5"),
        ("PAN-OS 10.1.6", N, "PAN-OS", "10.1.6"), ("BIG-IP 15.1.2", N, "F5 BIG-IP", "15.1.2"), ("Check Point Gaia R80.40", N, "Check Point Gaia", "R80.40"),
        ("NetApp ONTAP 9.8P1", "storage", "NetApp ONTAP", "9.8P1"), ("rhel7_64Guest", L, "Red Hat Enterprise Linux", "7"), ("windows9Server64Guest", W, "Windows Server", "2016 or later"),
        ("windows2019srvNext_64Guest", W, "Windows Server", "2022"), ("centos64Guest", L, "CentOS", "4/5 or later"), ("ubuntu64Guest", L, "Ubuntu", None),
        ("winNetEnterprise64Guest", W, "Windows Server", "2003"), ("vmkernel65Guest", "hypervisor", "VMware ESXi", "6.5"), ("other3xLinux64Guest", L, "Linux", None),
        ("Other (32-bit)", None, "Other", None), ("Other 3.x Linux (64-bit)", L, "Linux", None), ("Linux 3.10.0-1160.el7.x86_64", L, "Linux", None),
        ("Linux ip-10-0-0-1 4.14.281-212.502.amzn2.x86_64", L, "Amazon Linux", "2"), ("Linux", L, "Linux", None), ("unix", U, "UNIX", None),
    ],
)  # fmt: skip
def test_systems(text: str, family: str | None, product: str, version: str | None) -> None:
    system = parse_os(text)
    assert system is not None
    assert (system.family, system.product, system.version) == (family, product, version)


@pytest.mark.parametrize(
    "text", ["TempleOS 5", "SQL Server 2016", "web01.corp.local", "contoso-db01", "2016", "", "poweredOn", "10.0.0.1"]
)
def test_what_is_no_system(text: str) -> None:
    assert parse_os(text) is None


@pytest.mark.parametrize(
    "text", ["Windows Server 2016 or later", "CentOS 4/5/6/7 (64-bit)", "Other Linux (64-bit)", "Windows Server 2019+", "FreeBSD Pre-11 versions (64-bit)"]
)  # fmt: skip
def test_ranges_and_choices_are_generic(text: str) -> None:
    system = parse_os(text)
    assert system is not None
    assert system.generic


def test_service_pack_edition_bits_and_hint() -> None:
    system = parse_os("Windows Server 2008 R2 Enterprise Service Pack 1 (64-bit)")
    assert system is not None
    assert (system.edition, system.service_pack, system.bits) == ("Enterprise", "SP1", 64)
    aix = parse_os("AIX 7.2 TL5")
    assert aix is not None
    assert aix.service_pack == "TL5"
    kernel = parse_os("Linux 5.15.0-91-generic")
    assert kernel is not None
    assert kernel.hint == "kernel 5.15.0-91-generic, built for Ubuntu"
    sap = parse_os("SUSE Linux Enterprise Server for SAP Applications 15 SP3")
    assert sap is not None
    assert (sap.edition, sap.version) == ("SAP", "15 SP3")


@given(st.text(max_size=120))
def test_any_text_is_taken(text: str) -> None:
    parse_os(text)
    environment_of(text)
    criticality_of(text)
    power_state_of(text)
    asset_type_of(text)
    parse_mac(text)
    address = parse_ip(text)
    if address is not None:
        assert str(ipaddress.ip_address(address)) == address


@pytest.mark.parametrize(
    ("text", "environment"),
    [
        ("PRD1", "production"), ("prod.", "production"), ("Prod - Europe", "production"), ("Production (EU)", "production"), ("PROD01-EU", "production"),
        ("Produktiv", "production"), ("producción", "production"), ("PRODUCCION", "production"), ("P", "production"), ("preprod", "staging"), ("Pre Prod", "staging"),
        ("pre-production env", "staging"), ("UAT2", "staging"), ("Recette", "staging"), ("Abnahme", "staging"), ("Test / QA", "test"),
        ("Essais", "test"), ("Entwicklung", "development"),
        ("développement", "development"), ("non_production", "non_production"), ("Non-Prod", "non_production"), ("nicht produktiv", "non_production"), ("DR", "disaster_recovery"),
        ("prod-like test", None), ("prod like", None), ("Dev/Test", None), ("prod-dr", None), ("Shared", None), ("former production", None), ("product", None), ("", None),
    ],
)  # fmt: skip
def test_environments(text: str, environment: str | None) -> None:
    assert environment_of(text) == environment


@pytest.mark.parametrize(
    ("text", "criticality"),
    [("1 - Critical", "critical"), ("2 - High", "high"), ("Hoch", "high"), ("Geschäftskritisch", "critical"), ("élevée", "high"), ("MEDIA", "medium"), ("Niedrig", "low"), ("4", None), ("Application", None)],
)  # fmt: skip
def test_criticalities(text: str, criticality: str | None) -> None:
    assert criticality_of(text) == criticality


@pytest.mark.parametrize(
    ("text", "state"),
    [("POWERED_ON", "on"), ("PowerState/running", "on"), ("éteint", "off"), ("Ausgeschaltet", "off"), ("Saved", "suspended"), ("TERMINATED", "off"), ("green", None)],
)  # fmt: skip
def test_power_states(text: str, state: str | None) -> None:
    assert power_state_of(text) == state


@pytest.mark.parametrize("text", ["N/A", " n/a ", "NULL", "\\N", "-", "unknown", "Nicht verfügbar", "NICHT VERFUGBAR", "DESCONOCIDO", "inconnu", "n.v.t.", "not_available", "[];", "#N/A", "TBD"])  # fmt: skip
def test_placeholders(text: str) -> None:
    assert is_placeholder(text)


@pytest.mark.parametrize("text", ["no", "0", "nope", "Nulltarif", "web-tbd-01", "None of them", "x", "so", "ND"])
def test_what_is_no_placeholder(text: str) -> None:
    assert not is_placeholder(text)


def test_every_word_of_the_lists_is_found() -> None:
    for words, meaning in (
        (ENVIRONMENTS, environment_of), (CRITICALITIES, criticality_of), (POWER_STATES, power_state_of), (ASSET_TYPES, asset_type_of),
    ):  # fmt: skip
        for word, known in words.items():
            assert meaning(word) == known
            assert meaning(f" {word.upper()} ") == known
            assert not is_placeholder(word)
    assert all(is_placeholder(word) for word in PLACEHOLDERS)
    assert folded("  Été_2 ") == "ete 2"


def test_booleans() -> None:
    assert [boolean_of(cell) for cell in (True, "Ja", 1, "oui", "sí", "Enabled")] == [True] * 6
    assert [boolean_of(cell) for cell in (False, "NEIN", 0, "não", "absent")] == [False] * 5
    assert [boolean_of("Physical"), boolean_of("Physical", "is_physical"), boolean_of("VM", "is_physical")] == [
        None,
        True,
        False,
    ]


def test_addresses() -> None:
    assert [parse_ip(text) for text in ("10.0.0.1/24", "10.0.0.5:443", "2001:DB8::1", "fe80::1%eth0", "010.1.1.1", "1.2.3", "web01")] == [
        "10.0.0.1", "10.0.0.5", "2001:db8::1", "fe80::1", None, None, None,
    ]  # fmt: skip
    assert all(says_nothing(one) for one in ("127.0.0.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "::1", "::", "ff02::1"))  # fmt: skip
    assert not any(says_nothing(one) for one in ("10.0.0.1", "128.0.0.1", "169.254.1.1", "223.1.1.1", "240.0.0.1", "2001:db8::1"))  # fmt: skip
    assert [special_address(one) for one in ("127.0.0.1", "169.254.1.1", "fe80::1", "fe8::1", "10.0.0.1", "localhost")] == [
        "loopback address", "link-local address", "link-local address", None, None, "loopback address",
    ]  # fmt: skip
    assert is_public("8.8.8.8")
    assert not is_public("10.0.0.1")


@given(st.ip_addresses(v=4))
def test_every_ipv4_address_is_plain(address: ipaddress.IPv4Address) -> None:
    assert is_plain_ipv4(str(address))
    assert parse_ip(str(address)) == str(address)
    quiet = address.is_unspecified or address.is_loopback or address.is_multicast
    assert says_nothing(str(address)) == (quiet or str(address) == "255.255.255.255")


def test_the_addresses_by_which_a_machine_can_be_found() -> None:
    assert telling(["169.254.3.4", "10.0.0.1", "127.0.0.1", "172.17.0.1", "fe80::1", "febf::1"]) == ["10.0.0.1"]
    assert telling(["172.17.0.1"]) == ["172.17.0.1"]
    assert telling(["169.254.3.4"]) == []
    assert telling(["172.17.0.2", "fec0::1"]) == ["172.17.0.2", "fec0::1"]


@pytest.mark.parametrize(
    ("text", "product", "version"),
    [
        ("Windows 10 Enterprise LTSC 2019", "Windows", "10"),
        ("Windows 10 Enterprise 2016 LTSB", "Windows", "10"),
        ("Windows 11 Pro (2022 update)", "Windows", "11"),
        ("Windows 10 Server 2019", "Windows Server", "2019"),
        ("Windows 10.0.20348", "Windows Server", "2022"),
        ("Windows Pro 6.1.7601", "Windows", "7"),
        ("Windows NT Server 4.0 SP6a", "Windows NT", "4.0"),
        ("SBS 2011", "Windows Small Business Server", "2011"),
        ("SLED 12 SP3", "SUSE Linux Enterprise Server", "12 SP3"),
        ("Solaris 8/9/10", "Solaris", "8/9/10"),
        ("Solaris 10 1/13", "Solaris", "10"),
        ("Oracle Solaris 11 11/11", "Solaris", "11"),
    ],
)
def test_names_that_were_easily_misread(text: str, product: str, version: str) -> None:
    found = parse_os(text)
    assert found is not None
    assert (found.product, found.version) == (product, version)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("Microsoft Windows NT 10.0.17763.0", "build 17763 is that of Windows 10 and of Windows Server 2019"),
        (
            "Microsoft Windows NT 6.1.7601 Service Pack 1",
            "build 7601 is that of Windows 7 and of Windows Server 2008 R2",
        ),
        ("Windows 10.0.26100", "build 26100 is that of Windows 11 and of Windows Server 2025"),
    ],
)
def test_a_build_of_a_client_and_of_a_server_is_told_and_not_guessed(text: str, hint: str) -> None:
    found = parse_os(text)
    assert found is not None
    assert (found.product, found.version, found.generic, found.hint) == ("Windows", None, True, hint)
