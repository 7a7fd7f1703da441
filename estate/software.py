"""Names of software as inventories, CMDBs and portfolios write them, taken apart into product, version, edition."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Product:
    """A software name taken apart; `version` None = not said, `a/b` = one of these."""

    product: str
    version: str | None
    edition: str | None
    vendor: str | None
    raw: str
    category: str = "other"
    """database, runtime, web_server, application_server, messaging, mail, collaboration, virtualisation, business,
    search, cache, operations, other."""


Reader = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class _Known:
    product: str
    vendor: str | None
    category: str
    names: re.Pattern[str]
    read: Reader
    parts: re.Pattern[str] | None = None
    """Words that make it a part of the product with a life of its own (a client, a driver)."""
    releases: dict[str, str] = field(default_factory=dict)


_FILLER = (
    r"(?:[\s\-/:,()\[\].\"]|\b(?:the|servers?|database|db|rdbms|dbms|community|enterprise|standard|developer|express"
    r"|datacenter|web|workgroup|business|professional|foundation|premium|advanced|editions?|ee|se1?|se2|xe|le|oss"
    r"|open source|gpl|commercial|cluster|instance|engine|services?|software|suite|platform|version|ver|release|rel|v|r"
    r"|lts|on|windows|win|linux|unix|core|full|runtime|environment|host|hosting|bundle|shared|framework|desktop|sdk"
    r"|common|classic|stable|org|main|plus|mainline|subscription|licen[cs]e|perpetual|ssl)\b)*"
)
_NUMBERED = re.compile(rf"{_FILLER}v?(?P<version>\d+(?:\.\d+)*)", re.IGNORECASE)
_ONLY_FILLER = re.compile(rf"{_FILLER}(?:\([^)]*\))?$", re.IGNORECASE)
_BITS = re.compile(
    r"\(?\b(?:64|32)[- ]?bit(?: edition)?\b\)?|\(?\b(?:x86[_-]64|amd64|x64|x86|i[3-6]86|noarch)\b\)?", re.IGNORECASE
)
_PARTS = re.compile(
    r"\b(?:connectors?|drivers?|odbc|jdbc|oledb|ole db|clients?(?! profile)|plug-?ins?|add-?[io]ns?|sdk pack|language packs?"
    r"|management studio|workbench|compass|desktop manager|exporter|devel|doc|docs|documentation|books online|samples?"
    r"|launcher|hotfix|security update|update for|(?:service pack|rollup) \d+ for|setup|redistributable"
    r"|multi-targeting|developer pack|backup|explorer|agent|monitor(?:ing)?|viewer|receiver|workspace|gui"
    r"|data-?tier|management objects|scriptdom|policies|language service|connection info|vss writer|browser|localdb"
    r"|clr types|upgrade advisor|best practices|tools|utilities|libraries|library|bindings|api|installer|migration"
    r"|manager console|admin pack|replication monitor)\b",
    re.IGNORECASE,
)
_EDITION = re.compile(
    r"\b(enterprise|standard|developer|express|datacenter|data center|workgroup|evaluation|business intelligence"
    r"|community|foundation|network deployment|web(?= edition))\b|\b(ee|se1|se2|xe)\b",
    re.IGNORECASE,
)
_WITH_EDITIONS = frozenset({"database", "mail", "collaboration", "business", "application_server", "virtualisation"})
_SHORT_EDITIONS = {"ee": "Enterprise", "se1": "Standard One", "se2": "Standard 2", "xe": "Express"}
_LEVEL = re.compile(r"\b(?:sp|service pack)\s?(\d+)\b", re.IGNORECASE)
_CUMULATIVE = re.compile(r"\b(?:cu|cumulative update)\s?(\d+)\b", re.IGNORECASE)


def _numbers(text: str) -> str | None:
    found = _NUMBERED.match(text)
    return found["version"] if found else None


_RELEASE_YEAR = re.compile(r"\b(?:v)?(20\d\d)(?!\d)(?:\s*-?\s*(r2)\b)?|(?<=[a-z])(20\d\d)(?!\d)(r2)?", re.IGNORECASE)


def _year(text: str) -> str | None:
    """A release named by its year, with service pack and cumulative update; else a build number."""
    found = _RELEASE_YEAR.search(text)
    if not found:
        return _numbers(text)
    release = (found[1] or found[3]) + (" R2" if found[2] or found[4] else "")
    level, cumulative = _LEVEL.search(text), _CUMULATIVE.search(text)
    return release + (f" SP{level[1]}" if level else "") + (f" CU{cumulative[1]}" if cumulative else "")


_JAVA = re.compile(
    rf"{_FILLER}v?(?:1\.)?(?P<major>\d{{1,2}})(?!\d)(?:\.0[._]?(?P<minor>\d+(?:\.\d+)*)?)?(?:\s*(?:u|update)\s*(?P<update>\d+))?",
    re.IGNORECASE,
)


def _java(text: str) -> str | None:
    """`8u202` for `1.8.0_202` and `8 Update 202`; `11.0.2` as it is."""
    found = _JAVA.match(text)
    if not found:
        return None
    major, minor = int(found["major"]), found["minor"]
    if major <= 8:
        update = found["update"] or (minor.split(".")[0] if minor else None)
        # installers write update 202 as 8.0.2020.8
        if update and minor and not found["update"] and "." in minor and len(update) > 3 and update.endswith("0"):
            update = update[:-1]
        return f"{major}u{int(update)}" if update and int(update) else str(major)
    return f"{major}.0.{minor}" if minor else str(major)


_ORACLE = re.compile(
    rf"{_FILLER}v?(?:(?P<letter>\d+(?:ai|[icg])(?!(?!r\d)[a-z]))(?:\s*(?:r|release)\s?(?P<release>\d)\b(?!\.))?|(?P<numbers>\d+(?:\.\d+)*))",
    re.IGNORECASE,
)
_ORACLE_RELEASE = re.compile(r"\b(\d{1,2}\.\d+(?:\.\d+)+)\b")


def _oracle(text: str) -> str | None:
    """`11.2.0.4.0` where a release number is said, `11.2` for `11g R2`, else the name of the release (`11g`, `19c`)."""
    exact = _ORACLE_RELEASE.search(text)
    if exact:
        return exact[1]
    found = _ORACLE.match(text)
    if not found:
        return None
    if found["numbers"]:
        return found["numbers"]
    letter = found["letter"].lower()
    number = letter.rstrip("aicg")
    return f"{number}.{found['release']}" if found["release"] else letter


def _compact(text: str) -> str | None:
    """Versions of packages that carry them in their name without a dot (`postgresql96`, `php72`, `python27`)."""
    found = re.match(r"-?([2-9])(\d{1,2})(?![\d.])", text)
    return f"{found[1]}.{found[2]}" if found else _numbers(text)


def _postgres(text: str) -> str | None:
    """`96` is 9.6, `10` and later are releases of one number."""
    found = re.match(r"-?9(\d)(?![\d.])", text)
    return f"9.{found[1]}" if found else _numbers(text)


def _citrix(text: str) -> str | None:
    """Releases have the year and month of their first day, `1912`, also written `7.1912`."""
    found = re.search(r"(?<![\d.])(?:7\.)?(\d{4})(?!\d)", text)
    return found[1] if found else _numbers(text)


_VENDORS = (
    r"(?:(?:microsoft|ms|oracle|apache|red ?hat|rh|ibm|vmware|citrix|sap|eclipse|the|hashicorp|percona|elastic|adobe"
    r"|pivotal|sun|hcl|lotus|atlassian|suse|canonical|broadcom)\b[\s\-]*)?"
)


def _known(
    product: str,
    vendor: str | None,
    category: str,
    names: str,
    read: Reader = _numbers,
    *,
    parts: str | None = None,
    releases: dict[str, str] | None = None,
) -> _Known:
    return _Known(
        product,
        vendor,
        category,
        re.compile(rf"^{_VENDORS}(?:{names})", re.IGNORECASE),
        read,
        re.compile(parts, re.IGNORECASE) if parts else None,
        releases or {},
    )


_SQL_BUILDS = {
    "8": "2000", "9": "2005", "10.0": "2008", "10.00": "2008", "10.50": "2008 R2", "10.5": "2008 R2",
    "10": "2008/2008 R2", "11": "2012", "12": "2014", "13": "2016", "14": "2017", "15": "2019", "16": "2022",
    "17": "2025",
}  # fmt: skip
_EXCHANGE_BUILDS = {"6.5": "2003", "8": "2007", "14": "2010", "15.0": "2013", "15.00": "2013", "15.1": "2016",
                    "15.01": "2016", "15.2": "2019/SE", "15.02": "2019/SE"}  # fmt: skip
_SHAREPOINT_BUILDS = {"12": "2007", "14": "2010", "15": "2013", "16": "2016/2019/SE"}
_END = r"(?![\w#+])"
_OR_DIGIT = r"(?![a-z_#+])"

_CATALOGUE: tuple[_Known, ...] = (
    _known(
        "SQL Server", "Microsoft", "database", rf"(?:sql[\s-]?server|mssql(?:[\s-]?server)?|ms[\s-]?sql|sql(?=[\s-]*20[012]\d\b)){_OR_DIGIT}", _year,
        parts=r"\b(?:native|compact|ce|reporting services|report builder|integration services|analysis services"
        r"|database engine shared|common files|master data|data quality|batch parser|rsfx|migration assistant)\b",
        releases=_SQL_BUILDS,
    ),
    _known(
        "Oracle Database", "Oracle", "database",
        r"oracle(?:[\s-]*(?:database|db|rdbms|rac))?"
        r"(?=[\s-]*(?:v?\d|$|enterprise edition|standard edition|express edition|server|release|version|[(,]|(?:ee|se\d?|xe)\b))",
        _oracle,
        parts=r"\b(?:instant|linux|vm|forms|reports|fusion|solaris|weblogic|java|e-business|grid|apex|gateway)\b",
    ),
    _known("MySQL", "Oracle", "database",
           rf"mysql(?:[\s-]?(?:community|enterprise|commercial|standard))?(?:[\s-]?(?:server|database|cluster|community))?{_OR_DIGIT}",
           _compact, parts=r"\b(?:shell|router|notifier|for visual studio|for excel|java|python|libs?)\b"),
    _known("MariaDB", "MariaDB", "database", rf"mariadb(?:[\s-]?(?:server|galera))?{_OR_DIGIT}", parts=r"\blibs?\b"),
    _known("Percona Server", "Percona", "database", rf"percona[\s-]server(?:-server|\s+for mysql)?{_OR_DIGIT}"),
    _known("PostgreSQL", "PostgreSQL", "database", rf"(?:postgre(?:s|sql)|postgres\s?sql|pgsql|edb postgres)(?:[\s-]?server)?{_OR_DIGIT}",
           _postgres, parts=r"\b(?:contrib|libs?|stack ?builder|pgadmin|postgis)\b"),
    _known("MongoDB", "MongoDB", "database", rf"mongo\s?db(?:-(?:org|enterprise))?(?:-server)?{_OR_DIGIT}",
           parts=r"\b(?:shell|mongos|charts|bi)\b"),
    _known("IBM Db2", "IBM", "database", rf"db2(?:[\s/-]*(?:luw|udb|universal database))?{_OR_DIGIT}", parts=r"\bconnect\b"),
    _known("Informix", "IBM", "database", rf"informix{_OR_DIGIT}"),
    _known("SAP HANA", "SAP", "database", rf"hana(?:\s?db)?{_OR_DIGIT}", parts=r"\bstudio\b"),
    _known("SAP S/4HANA", "SAP", "business", rf"s/4\s?hana{_OR_DIGIT}"),
    _known("SAP ASE", "SAP", "database", rf"(?:sybase(?:\s+ase)?|adaptive server enterprise|sap ase|ase(?=[\s-]*\d)){_OR_DIGIT}"),
    _known("Cassandra", "Apache", "database", rf"cassandra{_OR_DIGIT}"),
    _known("Couchbase", "Couchbase", "database", rf"couchbase{_OR_DIGIT}"),
    _known("CouchDB", "Apache", "database", rf"couchdb{_OR_DIGIT}"),
    _known("Neo4j", "Neo4j", "database", rf"neo4j{_OR_DIGIT}"),
    _known("InfluxDB", "InfluxData", "database", rf"influxdb{_OR_DIGIT}"),
    _known("Teradata", "Teradata", "database", rf"teradata{_OR_DIGIT}"),
    _known("Firebird", "Firebird", "database", rf"firebird{_OR_DIGIT}"),
    _known("Redis", "Redis", "cache", rf"redis(?:-server)?{_OR_DIGIT}", parts=r"\b(?:commander|insight|sentinel)\b"),
    _known("Memcached", None, "cache", rf"memcached?{_OR_DIGIT}"),
    _known("Elasticsearch", "Elastic", "search", rf"elastic\s?search(?:-oss)?{_OR_DIGIT}"),
    _known("OpenSearch", "OpenSearch", "search", rf"opensearch{_OR_DIGIT}", parts=r"\bdashboards\b"),
    _known("Kibana", "Elastic", "operations", rf"kibana(?:-oss)?{_OR_DIGIT}"),
    _known("Logstash", "Elastic", "operations", rf"logstash(?:-oss)?{_OR_DIGIT}"),
    _known("Apache Solr", "Apache", "search", rf"solr{_OR_DIGIT}"),
    _known("Splunk", "Splunk", "operations", rf"splunk(?:\s?enterprise)?{_OR_DIGIT}", parts=r"\b(?:universal )?forwarder\b"),
    _known(".NET Framework", "Microsoft", "runtime", rf"\.?net\s*framework{_OR_DIGIT}"),
    _known(".NET Core", "Microsoft", "runtime", rf"\.net\s*core{_OR_DIGIT}|dotnet[\s-]?core{_OR_DIGIT}"),
    _known("ASP.NET Core", "Microsoft", "runtime", rf"asp\.net\s*core{_OR_DIGIT}"),
    _known("ASP.NET", "Microsoft", "runtime", rf"asp\.net{_OR_DIGIT}", parts=r"\b(?:mvc|web ?pages|ajax|razor)\b"),
    _known(".NET", "Microsoft", "runtime", rf"(?:\.net|windows desktop runtime|dotnet(?:-(?:runtime|sdk|host))?){_OR_DIGIT}"),
    _known("Amazon Corretto", "Amazon", "runtime", rf"(?:amazon )?corretto{_OR_DIGIT}", _java),
    _known("Azul Zulu", "Azul", "runtime", rf"(?:azul )?zulu(?:\s?(?:jdk|jre))?{_OR_DIGIT}", _java),
    _known("OpenJDK", None, "runtime",
           rf"(?:open\s?jdk(?:\s?(?:jdk|jre|runtime))?|(?:adopt\s?open\s?jdk|temurin|adoptium)(?:[\s-]+(?:jdk|jre))?(?:\s+with hotspot)?){_OR_DIGIT}|java-(?=[\d.]+-openjdk)",
           _java, parts=r"\b(?:demo|src|source|icedtea)\b"),
    _known("Java", "Oracle", "runtime",
           r"(?:java(?:\s2(?=\s))?|j2se|jdk|jre)(?:\s*(?:se|standard edition)\b)?"
           rf"(?:\s*(?:runtime environment|development kit|jdk|jre|platform))*{_OR_DIGIT}",
           _java, parts=r"\b(?:ee|auto updater|web start|db|fx|script|enterprise edition|3d|media|card)\b"),
    _known("Python", "Python Software Foundation", "runtime", rf"python{_OR_DIGIT}(?!\d*(?:\.\d+)*-[a-z])", _compact,
           parts=r"\b(?:pip|test suite|standard library|utility scripts|tcl/tk|add to path|pywin32)\b"),
    _known("Node.js", "OpenJS Foundation", "runtime", rf"(?:node(?:\.|\s)?js|node(?=\s*v?\d)){_OR_DIGIT}(?!-[a-z])", parts=r"\b(?:npm|exporter)\b"),
    _known("PHP", "PHP", "runtime", rf"php(?:\s*-?(?:cli|fpm|cgi|common))?{_OR_DIGIT}(?!\d*(?:\.\d+)*-(?!cli|fpm|cgi|common|php)[a-z])",
           _compact, parts=r"\b(?:storm|unit|myadmin|manager)\b"),
    _known("Ruby", "Ruby", "runtime", rf"ruby{_OR_DIGIT}(?!-[a-z])", parts=r"\b(?:gems?|on rails)\b"),
    _known("Perl", "Perl", "runtime", rf"(?:activestate\s|strawberry\s)?(?:active)?perl{_OR_DIGIT}(?!-[a-z])"),
    _known("Apache Tomcat", "Apache", "web_server", rf"tomcat{_OR_DIGIT}", parts=r"\b(?:native|connectors?|webapps|lib)\b"),
    _known("IIS", "Microsoft", "web_server", rf"(?:internet information (?:services?|server)(?:\s*\(iis\))?|iis){_OR_DIGIT}",
           parts=r"\b(?:url rewrite|web deploy|express|arr|application request routing)\b"),
    _known("IBM HTTP Server", "IBM", "web_server", rf"ibm http server{_OR_DIGIT}"),
    _known("Oracle HTTP Server", "Oracle", "web_server", rf"oracle http server{_OR_DIGIT}"),
    _known("Apache HTTP Server", "Apache", "web_server",
           r"(?:apache2(?![.\d])|apache[\s-]*httpd?(?:\s+server)?|httpd|apache(?:\s+web\s?server)?)(?:\s+server)?(?=$|[\s\-/(]*v?\d)"),
    _known("nginx", "F5", "web_server", rf"nginx(?:\s?plus)?{_OR_DIGIT}(?!-[a-z])", parts=r"\bamplify\b"),
    _known("HAProxy", "HAProxy", "web_server", rf"haproxy{_OR_DIGIT}"),
    _known("Varnish", None, "cache", rf"varnish(?:\s?cache)?{_OR_DIGIT}"),
    _known("WebLogic Server", "Oracle", "application_server", rf"(?:bea\s?)?web\s?logic(?:\s+server)?{_OR_DIGIT}", _oracle),
    _known("WebSphere Application Server", "IBM", "application_server",
           rf"(?:websphere(?:\s+application\s+server)?(?:\s+(?:network deployment|nd|base))?(?!\s*mq)|was(?=[\s-]*v?\d)){_OR_DIGIT}",
           parts=r"\b(?:mq|portal|commerce|message broker|process server)\b"),
    _known("JBoss EAP", "Red Hat", "application_server",
           rf"(?:jboss(?:\s+enterprise\s+application\s+platform)?(?:[\s-]*\(?eap\)?)?|eap(?=\s*\d)){_OR_DIGIT}",
           parts=r"\b(?:fuse|web server|data grid|operations network|bpm|brms|as)\b"),
    _known("WildFly", "Red Hat", "application_server", rf"wild\s?fly{_OR_DIGIT}"),
    _known("GlassFish", "Eclipse", "application_server", rf"glassfish{_OR_DIGIT}"),
    _known("Jetty", "Eclipse", "application_server", rf"jetty{_OR_DIGIT}"),
    _known("ColdFusion", "Adobe", "application_server", rf"cold\s?fusion{_OR_DIGIT}", _year),
    _known("RabbitMQ", "Broadcom", "messaging", rf"rabbit\s?mq(?:-server)?{_OR_DIGIT}"),
    _known("Apache Kafka", "Apache", "messaging", rf"kafka{_OR_DIGIT}"),
    _known("Apache ActiveMQ", "Apache", "messaging", rf"active\s?mq{_OR_DIGIT}"),
    _known("IBM MQ", "IBM", "messaging", rf"(?:websphere\s?mq|ibm mq|mqseries){_OR_DIGIT}"),
    _known("TIBCO EMS", "TIBCO", "messaging", rf"tibco(?:\s+(?:ems|enterprise message service)){_OR_DIGIT}"),
    _known("Exchange Server", "Microsoft", "mail", rf"exchange(?:\s+server)?(?=$|[\s\-]*(?:20|se\b|subscription|std|ent|standard|server|v?\d|\()){_OR_DIGIT}",
           _year, releases=_EXCHANGE_BUILDS),
    _known("Domino", "HCL", "mail", rf"(?:notes/)?domino{_OR_DIGIT}"),
    _known("SharePoint Server", "Microsoft", "collaboration", rf"(?:office\s+)?share\s?point(?:\s+(?:server|foundation|services))?{_OR_DIGIT}",
           _year, parts=r"\b(?:designer|online)\b", releases=_SHAREPOINT_BUILDS),
    _known("Skype for Business Server", "Microsoft", "collaboration", rf"skype for business server{_OR_DIGIT}", _year),
    _known("Lync Server", "Microsoft", "collaboration", rf"lync(?:\s+server)?{_OR_DIGIT}", _year),
    _known("BizTalk Server", "Microsoft", "business", rf"biztalk(?:\s+server)?{_OR_DIGIT}", _year),
    _known("Team Foundation Server", "Microsoft", "operations", rf"(?:visual studio )?(?:team foundation server|tfs){_OR_DIGIT}", _year),
    _known("Dynamics CRM", "Microsoft", "business", rf"dynamics\s+crm(?:\s+server)?{_OR_DIGIT}", _year),
    _known("Dynamics AX", "Microsoft", "business", rf"dynamics\s+ax{_OR_DIGIT}", _year),
    _known("Dynamics NAV", "Microsoft", "business", rf"dynamics\s+nav{_OR_DIGIT}", _year),
    _known("System Center Configuration Manager", "Microsoft", "operations",
           rf"(?:system center (?:20\d\d )?(?:r2 )?configuration manager|sccm){_OR_DIGIT}", _year),
    _known("Hyper-V", "Microsoft", "virtualisation", rf"hyper-?v{_OR_DIGIT}", _year),
    _known("VMware vCenter", "VMware", "virtualisation", rf"v(?:irtual)?\s?center(?:\s+server)?(?:\s+appliance)?{_OR_DIGIT}|vcsa{_OR_DIGIT}",
           parts=r"\b(?:update manager|converter|inventory service|orchestrator|operations)\b"),
    _known("VMware ESXi", "VMware", "virtualisation", rf"(?:vsphere\s+)?esxi?{_OR_DIGIT}"),
    _known("Citrix Virtual Apps and Desktops", "Citrix", "virtualisation",
           rf"(?:virtual apps(?: and desktops)?|xenapp(?:\s*(?:&|and)\s*xendesktop)?|xendesktop|cvad|presentation server){_OR_DIGIT}(?:\s+7(?=\s|$))?",
           _citrix),
    _known("NetScaler ADC", "Citrix", "virtualisation", rf"(?:netscaler(?:\s+adc)?|citrix adc){_OR_DIGIT}"),
    _known("Citrix Hypervisor", "Citrix", "virtualisation", rf"(?:xenserver|citrix hypervisor){_OR_DIGIT}"),
    _known("Citrix", "Citrix", "virtualisation", r"(?<=citrix)$|citrix$"),
    _known("SAP NetWeaver", "SAP", "business", rf"net\s?weaver{_OR_DIGIT}"),
    _known("SAP ERP", "SAP", "business", rf"sap (?:ecc|erp|r/3){_OR_DIGIT}"),
    _known("Docker", "Docker", "operations", rf"docker(?:[\s-]?(?:ce|ee|engine))?{_OR_DIGIT}", parts=r"\b(?:compose|desktop|cli|machine)\b"),
    _known("Kubernetes", "CNCF", "operations", rf"(?:kubernetes|k8s){_OR_DIGIT}"),
    _known("OpenShift", "Red Hat", "operations", rf"openshift(?:\s+container\s+platform)?{_OR_DIGIT}"),
    _known("Jenkins", "Jenkins", "operations", rf"jenkins{_OR_DIGIT}", parts=r"\bremoting\b"),
    _known("Jira", "Atlassian", "collaboration", rf"jira(?:\s+(?:software|core|server))*{_OR_DIGIT}"),
    _known("Confluence", "Atlassian", "collaboration", rf"confluence(?:\s+server)?{_OR_DIGIT}"),
    _known("Drupal", "Drupal", "collaboration", rf"drupal{_OR_DIGIT}"),
    _known("WordPress", "WordPress", "collaboration", rf"wordpress{_OR_DIGIT}"),
    _known("OpenSSL", "OpenSSL", "other", rf"openssl{_OR_DIGIT}(?!-[a-z])", parts=r"\blibs?\b"),
    _known("Samba", "Samba", "other", rf"samba{_OR_DIGIT}(?!-[a-z])"),
)  # fmt: skip


@lru_cache(maxsize=65536)
def parse_product(text: str, version: str | None = None, vendor: str | None = None) -> Product | None:
    """Take a software name apart, with the version and vendor that stand beside it; None when it is no product known
    here, or only a part of one with a life of its own (a driver, a client, an update).

    Of two versions that agree the longer is taken, else the one in the name: the other is then a build number.
    """
    cleaned = _cleaned(text)
    if not cleaned or len(cleaned) > 300:
        return None
    for known in _CATALOGUE:
        found = known.names.match(cleaned)
        if not found:
            continue
        rest = cleaned[found.end() :]
        if _PARTS.search(rest) or (known.parts and known.parts.search(rest)):
            return None
        named = _release(known, rest)
        if named is None and not _ONLY_FILLER.match(rest):
            return None
        product = _sibling(known.product, named := _longer(named, _stated(known, version)), vendor)
        return Product(
            product,
            named,
            _edition(cleaned) if known.category in _WITH_EDITIONS else None,
            _vendor(known, product, cleaned, vendor),
            text,
            known.category,
        )
    return None


_MARKS = re.compile(r"®|™|\((?:r|c|tm)\)|(?<!\d)_|_(?!\d)", re.IGNORECASE)


def _cleaned(text: str) -> str:
    return " ".join(_BITS.sub(" ", _MARKS.sub(" ", text)).split())


def _release(known: _Known, text: str) -> str | None:
    """The version in a text, a build number replaced by the release it belongs to."""
    version = known.read(text)
    if version is None:
        newest = re.search(r"\bse\b|subscription edition", text, re.IGNORECASE)
        return "SE" if newest and known.releases and known.product != "SQL Server" else None
    fuller = re.search(rf"(?<![\d.]){re.escape(version)}(?:\.\d+)+", text)
    version = fuller[0] if fuller else version
    parts = version.split(".")
    for count in range(len(parts), 0, -1):
        release = known.releases.get(".".join(parts[:count]))
        if release:
            return release
    return version


def _stated(known: _Known, version: str | None) -> str | None:
    """The version that stands beside the name; a text with a number that cannot be read is kept as it is."""
    if version is None or not any(character.isdigit() for character in version):
        return None
    bare = re.sub(r"^\d+:", "", version.strip())
    return _release(known, bare) or bare


def _longer(named: str | None, stated: str | None) -> str | None:
    if named is None or stated is None:
        return named or stated
    return stated if re.match(rf"{re.escape(named)}(?!\d)", stated) else named


def _vendor(known: _Known, product: str, text: str, stated: str | None) -> str | None:
    """Who makes it; of Java without a word about it nobody knows."""
    if product != known.product:
        return _SIBLING_VENDORS.get(product, known.vendor)
    if product == "Java" and not _ORACLE_JAVA.search(f"{text} {stated or ''}"):
        return stated
    return known.vendor or stated


_ORACLE_JAVA = re.compile(r"\b(?:oracle|sun|se|update|j2se)\b", re.IGNORECASE)
_NAMES_WITH_EDITION_WORDS = re.compile(r"enterprise application platform|adaptive server enterprise", re.IGNORECASE)


def _edition(text: str) -> str | None:
    found = _EDITION.search(_NAMES_WITH_EDITION_WORDS.sub(" ", text))
    if not found:
        return None
    return _SHORT_EDITIONS[found[2].lower()] if found[2] else found[1].title().replace("Data Center", "Datacenter")


_SIBLING_VENDORS = {"Amazon Corretto": "Amazon", "Azul Zulu": "Azul", "OpenJDK": None}
_BUILDERS = (
    ("Amazon Corretto", re.compile(r"amazon", re.IGNORECASE)),
    ("Azul Zulu", re.compile(r"azul", re.IGNORECASE)),
    ("OpenJDK", re.compile(r"eclipse|adoptium|adoptopenjdk|red ?hat|openjdk|debian|ubuntu|microsoft", re.IGNORECASE)),
)


def _sibling(product: str, version: str | None, vendor: str | None) -> str:
    """Products that share a name: .NET told apart by its version, Java by who built it."""
    if product == "Java" and vendor:
        return next((name for name, pattern in _BUILDERS if pattern.search(vendor)), product)
    if product not in {".NET", ".NET Core", "ASP.NET Core"} or version is None:
        return product
    major, _, minor = version.partition(".")
    minor = minor.split(".")[0]
    if int(major) >= 5:
        return ".NET"
    if (major, minor) in {("2", "1"), ("2", "2"), ("3", "1")} or (product == "ASP.NET Core" and major == "3"):
        return product if product == "ASP.NET Core" and major == "2" else ".NET Core"
    if product == ".NET" and (major == "4" or (major, minor) == ("3", "5")):
        return ".NET Framework"
    return product


PRODUCTS = frozenset(known.product for known in _CATALOGUE)
"""The names under which products are known here."""
