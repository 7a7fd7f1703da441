from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from estate.software import PRODUCTS, Product, parse_product


def read(text: str, version: str | None = None, vendor: str | None = None) -> tuple[str, str | None] | None:
    product = parse_product(text, version, vendor)
    return (product.product, product.version) if product else None


NAMES = {
    "Microsoft SQL Server 2014 (64-bit)": ("SQL Server", "2014"),
    "SQL Server 2008 R2 Standard": ("SQL Server", "2008 R2"),
    "SQL Server 2008R2": ("SQL Server", "2008 R2"),
    "SQL_Server_2014": ("SQL Server", "2014"),
    "MSSQL2012": ("SQL Server", "2012"),
    "MS SQL 2016": ("SQL Server", "2016"),
    "SQL 2012": ("SQL Server", "2012"),
    "Microsoft SQL Server 2014 SP3": ("SQL Server", "2014 SP3"),
    "Microsoft SQL Server 2012 Service Pack 4 (64-bit)": ("SQL Server", "2012 SP4"),
    "Microsoft® SQL Server® 2019 Enterprise Edition: Core-based": ("SQL Server", "2019"),
    "SQL Server": ("SQL Server", None),
    "Oracle Database 11g Enterprise Edition Release 11.2.0.4.0": ("Oracle Database", "11.2.0.4.0"),
    "Oracle Database 19c Enterprise Edition Release 19.0.0.0.0 - Production": ("Oracle Database", "19.0.0.0.0"),
    "Oracle 19c": ("Oracle Database", "19c"),
    "Oracle DB 12.1.0.2": ("Oracle Database", "12.1.0.2"),
    "Oracle 11g R2": ("Oracle Database", "11.2"),
    "Oracle12cR2": ("Oracle Database", "12.2"),
    "ORACLE": ("Oracle Database", None),
    "MySQL Server 5.7": ("MySQL", "5.7"),
    "mysql-community-server-5.7.33-1.el7.x86_64": ("MySQL", "5.7.33"),
    "mysql57-server": ("MySQL", "5.7"),
    "MariaDB 10.3": ("MariaDB", "10.3"),
    "mariadb-server-5.5.68-1.el7.x86_64": ("MariaDB", "5.5.68"),
    "PostgreSQL 9.6.24": ("PostgreSQL", "9.6.24"),
    "postgresql96-server-9.6.24-1PGDG.rhel7.x86_64": ("PostgreSQL", "9.6.24"),
    "postgresql-12": ("PostgreSQL", "12"),
    "Postgres 13": ("PostgreSQL", "13"),
    "mongodb-org 3.6": ("MongoDB", "3.6"),
    "mongodb-org-server-4.2.8": ("MongoDB", "4.2.8"),
    "MongoDB 4.4.6 2008R2Plus SSL (64 bit)": ("MongoDB", "4.4.6"),
    "IBM DB2 10.5": ("IBM Db2", "10.5"),
    "DB2 UDB v9.7": ("IBM Db2", "9.7"),
    "SAP HANA": ("SAP HANA", None),
    "SAP HANA 2.0 SPS05": ("SAP HANA", "2.0"),
    "SAP S/4HANA 1909": ("SAP S/4HANA", "1909"),
    "Sybase ASE 15.7": ("SAP ASE", "15.7"),
    "Redis": ("Redis", None),
    "redis-server 4.0.9": ("Redis", "4.0.9"),
    "Elasticsearch 6": ("Elasticsearch", "6"),
    "RabbitMQ": ("RabbitMQ", None),
    "RabbitMQ Server 3.8.9": ("RabbitMQ", "3.8.9"),
    "WebSphere MQ 7.5": ("IBM MQ", "7.5"),
    "Java": ("Java", None),
    "Java 8 Update 202": ("Java", "8u202"),
    "Java(TM) SE Development Kit 8 Update 45 (64-bit)": ("Java", "8u45"),
    "Java(TM) 6 Update 45": ("Java", "6u45"),
    "Java SE 11": ("Java", "11"),
    "JDK 1.7": ("Java", "7"),
    "jdk1.7.0_80": ("Java", "7u80"),
    "JRE 1.8.0_121": ("Java", "8u121"),
    "Java 2 Runtime Environment, SE v1.4.2_03": ("Java", "4"),
    "OpenJDK 11.0.2": ("OpenJDK", "11.0.2"),
    "openjdk-8-jdk": ("OpenJDK", "8"),
    "java-1.8.0-openjdk-1.8.0.252.b09-2.el7_8.x86_64": ("OpenJDK", "8"),
    "java-11-openjdk": ("OpenJDK", "11"),
    "Eclipse Temurin JDK with Hotspot 17.0.8+7 (x64)": ("OpenJDK", "17.0.8"),
    "Amazon Corretto 8 (x64)": ("Amazon Corretto", "8"),
    "Azul Zulu JDK 11": ("Azul Zulu", "11"),
    ".NET Framework 4.5.2": (".NET Framework", "4.5.2"),
    "Microsoft .NET Framework 4.8 (KB4503548)": (".NET Framework", "4.8"),
    "Microsoft .NET Framework 3.5 SP1": (".NET Framework", "3.5"),
    "Microsoft .NET Framework 4 Client Profile": (".NET Framework", "4"),
    ".NET 4.8": (".NET Framework", "4.8"),
    ".NET Core 3.1": (".NET Core", "3.1"),
    "Microsoft .NET Core Runtime - 2.1.30 (x64)": (".NET Core", "2.1.30"),
    "Microsoft ASP.NET Core 3.1.10 - Shared Framework": (".NET Core", "3.1.10"),
    ".NET 6": (".NET", "6"),
    "Microsoft .NET Runtime - 6.0.36 (x64)": (".NET", "6.0.36"),
    "Microsoft Windows Desktop Runtime - 6.0.25 (x64)": (".NET", "6.0.25"),
    "ASP.NET": ("ASP.NET", None),
    "Python 2.7": ("Python", "2.7"),
    "Python 3.8.10 (64-bit)": ("Python", "3.8.10"),
    "python27": ("Python", "2.7"),
    "python310": ("Python", "3.10"),
    "python3-3.6.8": ("Python", "3.6.8"),
    "Node.js 12": ("Node.js", "12"),
    "NodeJS v14.17.0": ("Node.js", "14.17.0"),
    "PHP 5.6": ("PHP", "5.6"),
    "php72": ("PHP", "7.2"),
    "php7.4-fpm": ("PHP", "7.4"),
    "Ruby 2.7.1": ("Ruby", "2.7.1"),
    "Apache Tomcat 7.0.109": ("Apache Tomcat", "7.0.109"),
    "Apache Tomcat/8.5.5": ("Apache Tomcat", "8.5.5"),
    "tomcat9": ("Apache Tomcat", "9"),
    "IIS 8.5": ("IIS", "8.5"),
    "Internet Information Services 10": ("IIS", "10"),
    "Internet Information Services (IIS) 7.5": ("IIS", "7.5"),
    "Apache HTTP Server 2.2": ("Apache HTTP Server", "2.2"),
    "Apache 2.4": ("Apache HTTP Server", "2.4"),
    "Apache/2.4.6 (CentOS)": ("Apache HTTP Server", "2.4.6"),
    "httpd-2.4.6-97.el7.centos.x86_64": ("Apache HTTP Server", "2.4.6"),
    "apache2": ("Apache HTTP Server", None),
    "nginx 1.14": ("nginx", "1.14"),
    "IBM HTTP Server 8.5": ("IBM HTTP Server", "8.5"),
    "Exchange Server 2013 CU23": ("Exchange Server", "2013 CU23"),
    "Microsoft Exchange Server 2016 Cumulative Update 22": ("Exchange Server", "2016 CU22"),
    "Exchange Server Subscription Edition": ("Exchange Server", "SE"),
    "SharePoint 2013": ("SharePoint Server", "2013"),
    "Microsoft SharePoint Foundation 2010": ("SharePoint Server", "2010"),
    "WebLogic 12c": ("WebLogic Server", "12c"),
    "Oracle WebLogic Server 12.2.1.4": ("WebLogic Server", "12.2.1.4"),
    "WebSphere 8.5": ("WebSphere Application Server", "8.5"),
    "IBM WebSphere Application Server Network Deployment 9.0.5": ("WebSphere Application Server", "9.0.5"),
    "JBoss EAP 6": ("JBoss EAP", "6"),
    "Red Hat JBoss Enterprise Application Platform 7.2": ("JBoss EAP", "7.2"),
    "VMware vCenter 6.5": ("VMware vCenter", "6.5"),
    "VMware vCenter Server 7.0": ("VMware vCenter", "7.0"),
    "Citrix": ("Citrix", None),
    "Citrix XenApp 7.15": ("Citrix Virtual Apps and Desktops", "7.15"),
    "Team Foundation Server 2015": ("Team Foundation Server", "2015"),
}


@pytest.mark.parametrize("text", NAMES)
def test_names_as_inventories_write_them(text: str) -> None:
    assert read(text) == NAMES[text]


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "JavaScript",
        "Java Script",
        "Java EE 7",
        "Java Auto Updater",
        "VB/VB.Net",
        "C#",
        "Ksh",
        "JSP",
        "Spring Boot",
        "Notepad++",
        "HTTP Server",
        "Windows Server 2012",
        "Oracle Linux 7",
        "Oracle VM VirtualBox 6.1",
        "Oracle Client 11g",
        "Oracle Database 12c Client",
        "Microsoft SQL Server 2012 Native Client",
        "Microsoft SQL Server Management Studio - 18.9.1",
        "Microsoft SQL Server 2008 Setup Support Files",
        "Microsoft SQL Server Compact 3.5 SP2",
        "Microsoft ODBC Driver 17 for SQL Server",
        "Microsoft System CLR Types for SQL Server 2012",
        "SQL Server Browser for SQL Server 2014",
        "Backup agent for SQL Server 2012",
        "MySQL Workbench 8.0",
        "MySQL Connector/ODBC 5.3",
        "psqlODBC 9.6",
        "MongoDB Compass 1.30",
        "Microsoft .NET Framework 4.5 Multi-Targeting Pack",
        "Microsoft ASP.NET MVC 4",
        "python-requests",
        "python3-pip 9.0.3",
        "Python 3.8.10 pip Bootstrap (64-bit)",
        "php-mysql 5.4",
        "nodejs-lodash",
        "Exchange Online",
        "SharePoint Designer 2010",
        "VMware Tools",
        "Citrix Workspace 2203",
        "Docker Desktop",
        "Veeam Agent for Microsoft Windows",
        "Security Update for Microsoft SQL Server 2014 (KB4535288)",
    ],
)
def test_what_is_no_product_or_only_a_part_of_one_is_left_raw(text: str) -> None:
    assert parse_product(text) is None


@pytest.mark.parametrize(
    ("text", "version", "vendor", "expected"),
    [
        ("SQL Server", "12.3.6024.0", None, ("SQL Server", "2014")),
        ("SQL Server", "10.50.1600.1", None, ("SQL Server", "2008 R2")),
        ("SQL Server", "10.0.5500.0", None, ("SQL Server", "2008")),
        ("SQL Server", "10", None, ("SQL Server", "2008/2008 R2")),
        ("Microsoft SQL Server 2014 (64-bit)", "12.3.6024.0", None, ("SQL Server", "2014")),
        ("SQL Server", "2016", None, ("SQL Server", "2016")),
        ("Exchange Server", "15.1.2507", None, ("Exchange Server", "2016")),
        ("Exchange Server", "15.2.1118", None, ("Exchange Server", "2019/SE")),
        ("SharePoint", "15.0.4569", None, ("SharePoint Server", "2013")),
        ("PostgreSQL 9.6", "9.6.24-1", None, ("PostgreSQL", "9.6.24")),
        ("PostgreSQL 9.6", "10.1", None, ("PostgreSQL", "9.6")),
        ("PostgreSQL", "12", None, ("PostgreSQL", "12")),
        ("mariadb", "1:10.3.22-0+deb10u1", None, ("MariaDB", "10.3.22")),
        ("MySQL", "5.7.33-log", "Oracle", ("MySQL", "5.7.33")),
        ("Oracle", "19.3", None, ("Oracle Database", "19.3")),
        ("Java 8 Update 202", "8.0.2020.8", "Oracle Corporation", ("Java", "8u202")),
        ("Java", "1.8.0_202", None, ("Java", "8u202")),
        ("Java 8", "8.0.292", "Azul Systems", ("Azul Zulu", "8u292")),
        ("Java", "11.0.20", "Eclipse Adoptium", ("OpenJDK", "11.0.20")),
        ("Java", "1.8.0_292", "Amazon", ("Amazon Corretto", "8u292")),
        ("Redis", "unknown", None, ("Redis", None)),
        ("Redis", None, None, ("Redis", None)),
        ("Redis", "r5", None, ("Redis", "r5")),
        ("Microsoft Visual Studio", "2015", None, None),
    ],
)
def test_the_version_beside_the_name(
    text: str, version: str | None, vendor: str | None, expected: tuple[str, str | None] | None
) -> None:
    assert read(text, version, vendor) == expected


@pytest.mark.parametrize(
    ("text", "edition", "vendor"),
    [
        ("SQL Server 2008 R2 Standard", "Standard", "Microsoft"),
        ("SQL Server 2016 Enterprise Edition", "Enterprise", "Microsoft"),
        ("Oracle Database 11g Enterprise Edition Release 11.2.0.4.0", "Enterprise", "Oracle"),
        ("Oracle 12c SE2", "Standard 2", "Oracle"),
        ("Oracle 11g XE", "Express", "Oracle"),
        ("mysql-community-server-5.7.33", "Community", "Oracle"),
        ("SharePoint Foundation 2010", "Foundation", "Microsoft"),
        ("Red Hat JBoss Enterprise Application Platform 7.2", None, "Red Hat"),
        ("WebSphere Application Server Network Deployment 8.5", "Network Deployment", "IBM"),
        (".NET 4.8", None, "Microsoft"),
        ("Java 8 Update 202", None, "Oracle"),
        ("Java 8", None, None),
        ("OpenJDK 11", None, None),
    ],
)
def test_edition_and_vendor(text: str, edition: str | None, vendor: str | None) -> None:
    product = parse_product(text)
    assert product is not None
    assert (product.edition, product.vendor) == (edition, vendor)


def test_the_text_itself_is_kept_and_the_kind_of_product_is_told() -> None:
    assert parse_product("  MSSQL2012 ") == Product("SQL Server", "2012", None, "Microsoft", "  MSSQL2012 ", "database")
    kinds = {"database", "runtime", "web_server", "application_server", "messaging", "mail", "virtualisation", "cache"}
    told = {product.category for name in PRODUCTS if (product := parse_product(name)) is not None}
    assert told >= kinds


@pytest.mark.parametrize("name", sorted(PRODUCTS))
def test_the_names_we_give_are_read_as_themselves(name: str) -> None:
    assert read(name) == (name, None)


@given(st.text(max_size=400), st.none() | st.text(max_size=40))
def test_any_text_is_read_or_left(text: str, version: str | None) -> None:
    product = parse_product(text, version)
    assert product is None or (product.product in PRODUCTS and product.raw == text)


@given(st.sampled_from(sorted(NAMES)), st.sampled_from(["", " ", "  (x64)", " 64-bit", " "]))
def test_case_blanks_and_bits_change_nothing(text: str, tail: str) -> None:
    expected = NAMES[text]
    for variant in (text.upper(), text.lower(), f" {text}{tail}", text.replace(" ", "  ")):
        product = parse_product(variant)
        assert product is not None
        found = product.version.lower() if product.version else None
        assert (product.product, found) == (expected[0], expected[1].lower() if expected[1] else None)


def test_long_texts_of_filler_take_no_time() -> None:
    for name in ("SQL Server", "Oracle", "Java", "MySQL", "Apache"):
        parse_product(name + " server edition (" * 15 + "!")
        parse_product(name + " -/:,." * 40)


@pytest.mark.parametrize(
    ("text", "product", "version"),
    [
        ("Citrix Virtual Apps and Desktops 7 1912 LTSR", "Citrix Virtual Apps and Desktops", "1912"),
        ("CVAD 2203", "Citrix Virtual Apps and Desktops", "2203"),
        ("XenApp and XenDesktop 7.15 LTSR CU3", "Citrix Virtual Apps and Desktops", "7.15"),
        ("Citrix Virtual Apps and Desktops 7", "Citrix Virtual Apps and Desktops", None),
        ('openjdk version "1.8.0_282"', "OpenJDK", "8u282"),
    ],
)
def test_a_release_is_not_the_number_before_it(text: str, product: str, version: str | None) -> None:
    found = parse_product(text)
    assert found is not None
    assert (found.product, found.version) == (product, version)
