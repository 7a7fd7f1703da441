"""What the rows of a table speak of that no known tool wrote: decided by its columns, their cells and its name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property

from estate.lexicon import JOINED_TO, bare, end_of_connection, is_server_end, meanings, words
from estate.meanings import candidates, identity, is_bare_measure, surroundings
from estate.profile import Profile, is_flag, is_number, is_person, is_time
from estate.roles import APPLICATIONS, CONNECTIONS, DETAIL, IGNORED, MACHINES, PERFORMANCE, SOFTWARE, TAGS
from estate.tables import Table
from estate.targets import PERCENT_TARGETS, RATE_TARGETS

SURE = 0.85
_MACHINE_FACTS = frozenset(
    {"operating_system", "os_version", "cpu_cores", "memory_gb", "storage_gb", "ip_addresses", "mac_addresses",
     "hostname", "fqdn", "serial_number", "power_state", "runs_on", "is_physical", "manufacturer"}
)  # fmt: skip
_DETAIL_FACTS = frozenset({"storage_gb", "storage_used_gb", "ip_addresses", "mac_addresses"})
_MEASURED = frozenset({*PERCENT_TARGETS, *RATE_TARGETS, "disk_iops", "memory_used_gb"})
_APPLICATION_SHEETS = re.compile(
    r"\b(app(lication)?s?|portfolio|anwendung(en)?|applikation(en)?|aplicaciones|applicazioni|applicaties)\b", re.IGNORECASE
)  # fmt: skip
_NO_INVENTORY = re.compile(
    r"^(legend[ea]?|l[ée]gende|leyenda|read[ _-]?me.*|lies[ _-]?mich|info(rmation)?|about|instructions?|anleitung|hinweise"
    r"|how[ _-]?to.*|glossar(y|io)?|change[ _-]?log|(version |revision )?history|cover( page)?|deckblatt|titel|title"
    r"|(table of )?contents?|inhalt(sverzeichnis)?|toc|pivot.*|look[ _-]?ups?.*|lists?|drop[ _-]?downs?.*|(data )?validation.*"
    r"|parameters?|settings?|dashboard|charts?|diagramme?|disclaimer|help|hilfe|meta[ _-]?data|definitions?"
    r"|(data )?dictionary|summary|overview|zusammenfassung|[üu]bersicht|synth[èe]se|resumen|riepilogo)$",
    re.IGNORECASE,
)
_PIVOT = re.compile(
    r"^(row labels|column labels|zeilenbeschriftungen|spaltenbeschriftungen|[ée]tiquettes de (lignes|colonnes)"
    r"|etiquetas de (fila|columna)s?|etichette di (riga|colonna))$",
    re.IGNORECASE,
)
_SUM = re.compile(
    r"^((count|sum|average|max|min) of .+|(anzahl|summe|mittelwert) von .+|(nombre|somme|moyenne) de .+|cuenta de .+"
    r"|grand total|gesamtergebnis)$",
    re.IGNORECASE,
)


class Columns:
    """The columns of a table and what their names say."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.names = table.names
        self._columns = {column.name: column for column in table.columns}
        self._profiles: dict[str, Profile] = {}

    def profile(self, name: str) -> Profile:
        """The cells of a column."""
        if name not in self._profiles:
            self._profiles[name] = Profile(self._columns[name])
        return self._profiles[name]

    def saying(self, role: str, *targets: str, least: float = SURE) -> list[str]:
        """The columns whose name says one of the targets in a table of that role."""
        return [
            name
            for name in self.names
            if (best := meanings(name, role)) and best[0][0] in targets and best[0][1] >= least
        ]

    @cached_property
    def machine_facts(self) -> list[str]:
        """The columns that state a fact only machines have, cells agreeing."""
        around = surroundings(MACHINES, self.names)
        found = []
        for name in self.names:
            best = candidates(name, self.profile(name), around)
            # a vendor is also that of a product or application
            vendor = bare(name) == ["vendor"]
            if best and best[0].target in _MACHINE_FACTS and best[0].confidence >= SURE and not vendor:
                found.append(name)
        return found

    @cached_property
    def measures(self) -> list[str]:
        """The columns that tell a utilisation, cells agreeing."""
        around = surroundings(PERFORMANCE, self.names)
        found = []
        for name in self.names:
            best = candidates(name, self.profile(name), around)
            if best and best[0].target in _MEASURED and best[0].confidence >= 0.6:
                found.append(name)
        return found

    @cached_property
    def identities(self) -> list[str]:
        """The columns that name a machine or give its key."""
        named = [name for name in self.names if identity(name) is not None]
        return named + self.saying(MACHINES, "external_id", "uuid")

    def changes(self, name: str, named: str) -> bool:
        """Does a column tell most machines' rows different things?"""
        values, machines = self._columns[name].codes, self._columns[named].codes
        return len(set(zip(machines, values, strict=True))) > 1.3 * len(set(machines))

    def repeats(self, names: Iterable[str]) -> float:
        """Rows by machine: by the first column that says who it is."""
        first = next(iter(names), None)
        return self.profile(first).repeats if first is not None else 0.0


def classify(table: Table) -> tuple[str, str, str]:
    """(kind, role, why) of a table no known tool wrote."""
    columns = Columns(table)
    if table.read_as.get("parent_key") in columns.names:
        return _nested(columns, str(table.read_as["parent_key"]))
    for decide in (_no_inventory, _connections, _tags, _performance, _software, _detail, _applications):
        found = decide(columns)
        if found is not None:
            return found
    facts = columns.machine_facts
    named = columns.identities
    if not named and not facts:
        return "table", MACHINES, "no column says what its rows are; they are taken for machines"
    why = _listed("names machines" if named else "states facts of machines", named[:1] + facts[:3])
    return "table", MACHINES, why


def _nested(columns: Columns, parent: str) -> tuple[str, str, str]:
    """A list inside the records of another table, each element beside the name of the record it belongs to."""
    found = _tags(columns) or _software(columns)
    if found is not None:
        return found
    around = surroundings(DETAIL, columns.names)
    facts = [
        name
        for name in columns.names
        if name != parent
        and (best := candidates(name, columns.profile(name), around))
        and best[0].target in _DETAIL_FACTS
        and best[0].confidence >= SURE
    ]
    if facts:
        return "detail", DETAIL, _listed(f"it is a list inside the records named by {parent}", facts[:3])
    return "notes", IGNORED, f"it is a list inside the records named by {parent}, and no column of it states a fact"


def _listed(what: str, names: list[str]) -> str:
    return f"{what} ({', '.join(names)})" if names else what


def label(table: Table) -> str:
    """What the sheet, or the file of one table, is called."""
    return (table.sheet if table.sheet is not None else table.file.rsplit("/", 1)[-1].rsplit(".", 1)[0]).strip()


def _no_inventory(columns: Columns) -> tuple[str, str, str] | None:
    pivots = [name for name in columns.names if _PIVOT.match(name.strip())]
    sums = [name for name in columns.names if _SUM.match(name.strip())]
    if pivots:
        return "pivot", IGNORED, _listed("it is a pivot table", pivots[:2])
    if sums and not columns.identities and not columns.machine_facts:
        return "pivot", IGNORED, _listed("it sums up other tables", sums[:2])
    if _lists_people(columns):
        return (
            "notes",
            IGNORED,
            "it lists people and how to reach them, and no column of it names a machine or application",
        )
    if _lists_rules(columns):
        return "notes", IGNORED, "it lists what firewalls allow, not which connections there are"
    named = columns.identities or _two_ends(columns) or columns.saying(APPLICATIONS, "name")
    called = label(columns.table)
    if columns.table.sheet is not None and _NO_INVENTORY.match(called) and not named:
        return "notes", IGNORED, f"the sheet is called {called} and no column of it names a machine or application"
    counts = _counts_of_machines(columns)
    if counts and not columns.identities and not columns.saying(APPLICATIONS, "name", least=0.9):
        return "pivot", IGNORED, _listed("it counts machines", counts[:2])
    return None


_RULES = frozenset({"rule", "rules", "policy", "acl", "regel", "regla", "regola"})
_VERDICTS = frozenset({"allow", "allowed", "deny", "denied", "drop", "permit", "accept", "reject", "block", "pass"})
_SEEN = frozenset(
    {"bytes", "packets", "time", "timestamp", "timeslot", "seen", "hits", "sessions", "flows", "date", "start"}
)


def _lists_rules(columns: Columns) -> bool:
    """Rules of a firewall: a number or name of the rule, what is done, and nothing that was seen."""
    spoken = {word for name in columns.names for word in words(name)}
    if not _RULES & spoken or _SEEN & spoken or _two_ends(columns) is None:
        return False
    verdict = lambda cell: str(cell).strip().lower() in _VERDICTS  # noqa: E731
    return any(columns.profile(name).share(verdict) >= 0.8 for name in columns.names)


_MACHINES = frozenset({"servers", "vms", "machines", "computers", "hosts", "nodes", "devices", "instances"})


def _counts_of_machines(columns: Columns) -> list[str]:
    """Columns that say how many machines there are: `Servers`, `Number of VMs`."""
    return [
        name
        for name in columns.names
        if _MACHINES.intersection(bare(name)) and columns.profile(name).share(is_number) >= 0.8
    ]


_REACHED = frozenset(
    {"mail", "email", "phone", "telefon", "mobile", "mobil", "telephone", "tel", "telefono", "extension"}
)


def _lists_people(columns: Columns) -> bool:
    """Names of people beside their mail addresses or telephone numbers, and nothing of machines."""
    if columns.machine_facts or not any(_REACHED & set(words(name)) for name in columns.names):
        return False
    named = columns.identities
    return all(bare(name) == ["name"] and columns.profile(name).share(is_person) >= 0.8 for name in named) and (
        bool(named) or not columns.saying(APPLICATIONS, "name")
    )


def _two_ends(columns: Columns) -> tuple[list[str], list[str]] | None:
    ends: dict[str, list[str]] = {"source": [], "target": []}
    for name in columns.names:
        said = end_of_connection(name)
        if said is None or said.endswith(("port", "_process")):
            continue
        cells = columns.profile(name)
        if cells.share(is_time) > 0.5 or cells.share(is_flag) > 0.5:
            continue
        if not said.endswith("_ip") and cells.share(is_number) > 0.5:
            continue
        ends[said.split("_", 1)[0]].append(name)
    clients = any(bare(name)[0] == "client" for name in ends["source"])
    if clients and not ends["target"] and columns.saying(CONNECTIONS, "port", "protocol", "bytes", "connections"):
        ends["target"] = [name for name in columns.names if is_server_end(name)]
    elif ends["target"] and not ends["source"] and any(" ".join(bare(name)) in JOINED_TO for name in ends["target"]):
        ends["source"] = [name for name in columns.identities if name not in ends["target"]]
    return (ends["source"], ends["target"]) if all(ends.values()) else None


def _connections(columns: Columns) -> tuple[str, str, str] | None:
    ends = _two_ends(columns)
    if ends is not None:
        own = [name for name in columns.names if end_of_connection(name) is None]
        facts = [name for name in columns.machine_facts if name in own]
        named = [name for name in own if identity(name) is not None]
        if not (named and len(facts) >= 2):
            return "connections", CONNECTIONS, _listed("each row joins two ends", [ends[0][0], ends[1][0]])
    if len(columns.names) <= 4:
        needs = columns.saying(APPLICATIONS, "depends_on", least=0.99)
        who = columns.saying(APPLICATIONS, "name", least=0.9)
        beside = [name for name in columns.names if name not in {*needs[:1], *who[:1]}]
        of_links = set(columns.saying(CONNECTIONS, "relation", "direction", "protocol", "port", least=0.9))
        if needs and who and set(beside) <= of_links and columns.profile(who[0]).repeats > 1.2:
            return "connections", CONNECTIONS, _listed("each row says what one application needs", [who[0], needs[0]])
    return None


def _tags(columns: Columns) -> tuple[str, str, str] | None:
    keys = columns.saying(TAGS, "tag_key", least=0.99)
    values = columns.saying(TAGS, "tag_value", least=0.99)
    named = [name for name in columns.identities if name not in {*keys, *values}]
    if keys and values and named and len(columns.names) <= 6:
        return "tags", TAGS, _listed("each row is one attribute of a machine", [named[0], keys[0], values[0]])
    return None


def _performance(columns: Columns) -> tuple[str, str, str] | None:
    times = [name for name in columns.saying(PERFORMANCE, "measured_at", least=0.9)
             if columns.profile(name).share(is_time) >= 0.6 or columns.profile(name).blank]  # fmt: skip
    if not times:
        return None
    named = [name for name in columns.identities if name not in times]
    named = named or [name for name in columns.saying(PERFORMANCE, "name", least=0.99) if name not in times]
    measured = [name for name in columns.measures
                if not is_bare_measure(name) or (named and columns.changes(name, named[0]))]  # fmt: skip
    if not measured or not named:
        return None
    if columns.repeats(named) >= 1.5 or not set(columns.machine_facts) - set(named):
        return "performance", PERFORMANCE, _listed("each row is a measurement", [named[0], times[0], measured[0]])
    return None


def _software(columns: Columns) -> tuple[str, str, str] | None:
    licences = columns.saying(SOFTWARE, "licence_metric", "licence_quantity", "licence_expires")
    spoken = {word for name in columns.names for word in words(name)}
    products = columns.saying(SOFTWARE, "software")
    facts = columns.machine_facts
    speaks_of_licences = bool(spoken & {"licence", "license", "licences", "licenses", "lizenz", "lizenzen", "seats",
                                        "entitlement", "entitlements", "licencia", "licencias"})  # fmt: skip
    metric = columns.saying(SOFTWARE, "licence_metric", least=0.99)
    if products and (licences if speaks_of_licences else metric and len(licences) > 1) and not facts:
        return "licences", SOFTWARE, _listed("each row is a licence", [products[0], licences[0]])
    said = [name for name in products if set(words(name)) & {"software", "product", "products", "package", "program",
            "programm", "produkt", "logiciel", "producto", "prodotto", "produto"}]  # fmt: skip
    named = [name for name in columns.identities if name not in products]
    named = named or [name for name in columns.saying(SOFTWARE, "name", least=0.99)
                      if name not in products and columns.profile(name).share(is_time) < 0.5]  # fmt: skip
    plain = [name for name in named if bare(name) == ["name"]]
    if plain and not products and len(named) > 1:
        products, named = plain, [name for name in named if name not in plain]
    versions = columns.saying(SOFTWARE, "software_version", "software_vendor", least=0.9)
    if said and versions and not named and not facts and (speaks_of_licences or len(versions) > 1):
        return "licences", SOFTWARE, _listed("each row is a product", [said[0], *versions[:2]])
    if not named or not versions:
        return None
    if said and (not facts or columns.repeats(named) >= 1.2):
        return "software", SOFTWARE, _listed("each row is a product on a machine", [named[0], said[0], versions[0]])
    if products and columns.repeats(named) >= 1.2 and len(facts) <= 1:
        return "software", SOFTWARE, _listed("each row is a product on a machine", [named[0], products[0], versions[0]])
    return None


def _detail(columns: Columns) -> tuple[str, str, str] | None:
    parts = [
        name
        for name in columns.saying(DETAIL, "detail_key", least=0.99)
        if columns.profile(name).share(is_number) < 0.5 and columns.profile(name).share(is_time) < 0.5
    ]
    named = [name for name in columns.identities if name not in parts]
    facts = columns.saying(DETAIL, "storage_gb", "storage_used_gb", "ip_addresses", "mac_addresses")
    if parts and named and set(facts) - {*parts, *named} and columns.repeats(named) >= 1.2:
        return "detail", DETAIL, _listed("several rows are parts of one machine", [named[0], parts[0]])
    return None


def _applications(columns: Columns) -> tuple[str, str, str] | None:
    if columns.machine_facts and (columns.identities or not _counts_of_machines(columns)):
        return None
    named = columns.saying(APPLICATIONS, "name", least=0.9)
    by_word = [
        name
        for name in named
        if set(words(name)) & {"application", "applications", "app", "apps", "anwendung", "applikation", "aplicacion",
                               "applicazione", "aplicacao", "applicatie", "fachanwendung", "anwendungsname", "aplicativo"}
    ]  # fmt: skip
    machines = [name for name in columns.names if identity(name) is not None and identity(name, APPLICATIONS) is None]
    lists = columns.saying(APPLICATIONS, "databases", "depends_on", "technologies", "strategy", least=0.99)
    lists += [name for name in columns.saying(APPLICATIONS, "hosts", least=0.99) if _holds_lists(columns, name)]
    if by_word and (not machines or (set(lists) and columns.profile(by_word[0]).repeats <= 1.1)):
        return "applications", APPLICATIONS, _listed("each row names an application", by_word[:1] + lists[:2])
    if named and _APPLICATION_SHEETS.search(label(columns.table).replace("_", " ")) and not machines:
        return "applications", APPLICATIONS, f"it is called {label(columns.table)} and names no machine"
    return None


def _holds_lists(columns: Columns, name: str) -> bool:
    """Does the column name several in one cell? `Server` names one, `Servers` or `a, b` several."""
    several = columns.profile(name).share(lambda cell: bool(re.search(r"[,;|\n]", str(cell)))) > 0.2
    return several or any(word.endswith("s") and len(word) > 2 for word in bare(name))
