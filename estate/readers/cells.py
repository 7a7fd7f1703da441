"""What a cell or a row is, by its looks: blank, data, a column name, a total, a remark."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from estate.tables import Cell

LONGEST_MARK = 500
"""As much of a cell tells whether its row is a total, a remark or a rule."""
LONGEST_DATUM = 80
"""No number, date, address or identifier has more characters."""

_NUMBER = re.compile(r"[-+]?[\d.,'\u00a0\u202f ]*\d[\d.,'\u00a0\u202f ]*(?:%|[eE][-+]?\d+)?")
_ADDRESS = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}(?:/\d{1,2})?|(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}", re.IGNORECASE)
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[ T].*)?")
_LONG_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{24,64}", re.IGNORECASE)
_QUANTITY = re.compile(r"[-+]?[\d.,'\u00a0\u202f ]*\d(?:\s*[A-Za-zµ%/]{1,10})?")

TOTAL_WORDS: Final = (
    "total", "totals", "grand total", "grand totals", "sub total", "subtotal", "sub-total", "sum", "sums", "overall",
    "gesamt", "gesamtsumme", "gesamtergebnis", "summe", "zwischensumme", "teilergebnis", "total general",
    "total général", "total generale", "totale", "totale complessivo", "somme", "somma", "suma", "suma total",
    "suma total general", "sous-total", "totaal", "eindtotaal", "subtotaal", "soma", "total geral", "totais",
    "totalt", "summa", "razem", "suma końcowa",
)  # fmt: skip
_TOTAL = re.compile(
    rf"(?:{'|'.join(sorted(map(re.escape, TOTAL_WORDS), key=len, reverse=True))})\s*:?(?:\s*\(?\s*\d+[^)]{{0,30}}\)?)?",
    re.IGNORECASE,
)
_TOTAL_OF = re.compile(
    rf"(?:{'|'.join(sorted(map(re.escape, TOTAL_WORDS), key=len, reverse=True))})\s*:?\s+\S", re.IGNORECASE
)
_REMARK = re.compile(
    r"#(?!$)|//|--\s|/\*|<!--"
    r"|(?:\*{1,2}\s*)?(?:note|notes|source|sources|remark|remarks|comment|comments|legend|disclaimer|confidential"
    r"|generated|exported|created|printed|report\s+(?:date|generated|created)|applied\s+filters?|filters?|filtered\s+by"
    r"|hinweis|hinweise|bemerkung|anmerkung|quelle|stand|erstellt|erzeugt|exportiert|angewendete\s+filter|angewandte\s+filter"
    r"|remarque|nota|notas|fuente|fonte|généré|exporté|généré|creado|generado|exportado|filtros?\s+aplicados"
    r"|filtres?\s+appliqués?|opmerking|bron)"
    r"(?:\s*:|\s+(?:by|on|at|from|von|am|durch|par|le|por|el|da|il)\b)"
    r"|(?:end\s+of\s+(?:report|file|list|table)|ende\s+(?:des|der)\s+\w+|fin\s+(?:du|del)\s+\w+)\b"
    r"|\(?\d+\s+(?:rows?|records?|zeilen|datensätze|lignes|filas|registros)(?:\s+(?:affected|selected|returned))?\)?\.?$",
    re.IGNORECASE,
)
_RULE = re.compile(r"[-=_*+|~ ]{3,}")

HEADER_WORDS: Final = frozenset(
    """
    name names host hosts hostname fqdn dns domain server servers vm vms machine machines computer device devices node
    nodes instance asset assets ci id ids uuid guid serial number no nr identifier key tag tags type kind class category
    model make vendor manufacturer brand product version edition release build patch os operating system platform family
    architecture arch bit ip ips ipv4 ipv6 address addresses mac network networks adapter nic nics vlan subnet gateway
    port ports protocol source src destination dest dst target from to client process direction cpu cpus vcpu vcpus core
    cores socket sockets processor processors thread threads clock ghz mhz speed memory mem ram disk disks storage drive
    volume capacity size provisioned allocated used usage free available utilization utilisation percent percentage avg
    average max min peak p95 mean total count quantity amount iops throughput read write reads writes in out environment
    env stage tier lifecycle status state power powerstate location site datacenter datacentre region zone country city
    building room rack cluster folder resource pool vcenter hypervisor virtual physical app apps application applications
    service services business function owner owners contact manager responsible technical team group department division
    unit organization organisation cost center centre criticality critical priority importance sla tier backup recovery
    rto rpo dr description desc comment comments note notes remark remarks purpose role roles date time timestamp created
    created_at updated modified changed last first seen start end boot uptime installed install expiry expires expiration
    support eol warranty software licence license licences licenses publisher component components dependency dependencies
    depends relation relationship parent child wave strategy migration move user users account subscription tenant project
    code label title column col field attr attribute spalte feld colonne columna value values unit uri url path config configuration guest tools template notes annotation boolean
    database databases db instances language framework technology technologies stack runtime middleware metric
    maschine rechner rechnername gerät geräte hostname servername serverliste adresse netzwerk netz betriebssystem system
    prozessor prozessoren kerne prozessorkerne takt arbeitsspeicher hauptspeicher speicher festplatte platte platten größe
    belegt frei kapazität auslastung umgebung stufe standort ort raum rechenzentrum abteilung anwendung anwendungen
    applikation dienst besitzer eigentümer verantwortlich verantwortlicher verantwortliche ansprechpartner kritikalität
    wichtigkeit beschreibung bemerkung bemerkungen kommentar datum zeitpunkt uhrzeit erstellt geändert seriennummer
    hersteller modell typ art nummer bezeichnung zustand betriebszustand status anzahl quelle ziel quellserver zielserver
    domäne lizenz lizenzen menge einheit wert kostenstelle
    nom serveur serveurs hôte hote machine ordinateur adresse réseau système systeme exploitation processeur processeurs
    cœurs coeurs mémoire memoire vive disque disques stockage taille capacité utilisé utilisée libre environnement site
    emplacement lieu propriétaire proprietaire responsable service département criticité criticite description commentaire
    état etat numéro numero série serie fabricant constructeur modèle modele nombre date fréquence logiciel licence
    nombre servidor servidores equipo equipos máquina maquina anfitrión dirección direccion ips red sistema operativo
    procesador procesadores núcleos nucleos memoria almacenamiento disco discos tamaño tamano capacidad usado libre entorno
    ambiente ubicación ubicacion sede propietario dueño responsable departamento aplicación aplicacion aplicaciones
    criticidad descripción descripcion comentario comentarios observaciones estado fecha número numero serie fabricante
    modelo versión version tipo cantidad uso puerto origen destino proceso software licencia
    nome servidor macchina indirizzo rete sistema operativo processore memoria archiviazione dimensione ambiente ubicazione
    sede proprietario responsabile reparto applicazione criticità descrizione stato data numero seriale produttore modello
    naam computer adres netwerk besturingssysteem processor geheugen schijf opslag grootte omgeving locatie eigenaar
    afdeling toepassing omschrijving beschrijving datum aantal fabrikant
    gb gib mb mib tb tib kb kib go mo to bytes
    """.split()  # noqa: SIM905 - read as a text, not as a list
)
"""Words that column names of inventories are made of, in the languages they come in."""

MEASURE_WORDS: Final = frozenset(
    """
    cores core count number no total used usage free available size capacity allocated provisioned consumed % percent
    percentage pct avg average max maximum min minimum peak mean p95 gb gib mb mib tb tib kb kib go mo ghz mhz speed
    sockets threads model type version name read write reads writes in out iops value unit amount sum mb/s rate date id
    kerne anzahl belegt frei größe gesamt auslastung takt typ modell version wert einheit mittel spitze
    cœurs coeurs nombre utilisé utilisée libre taille capacité fréquence moyenne maximum
    núcleos nucleos cantidad usado libre tamaño capacidad uso promedio máximo frecuencia modelo versión
    """.split()  # noqa: SIM905
)
"""Column names that say nothing without the heading above them."""

_IDENTITY = frozenset(
    """
    name hostname host server vm machine computer device node asset ci id uuid fqdn ip application app source database
    rechner rechnername servername gerät anwendung serveur nom machine nombre servidor equipo aplicación nome naam
    """.split()  # noqa: SIM905
)
_WORD = re.compile(r"[^\W\d_]+\d*|%")
_CAMEL = re.compile(r"(?<=[a-zà-ÿ0-9])(?=[A-ZÀ-Ý])")

INVISIBLE: Final = re.compile(
    "[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffc\U000e0000-\U000e0fff]"
)
"""Characters that nobody sees: controls, zero-width ones, those that turn the writing direction, tags."""


def blank(cell: Cell) -> bool:
    """True for an empty cell, and for one that holds only blanks."""
    return cell is None or (type(cell) is str and not cell.strip())


def blank_row(cells: Sequence[Cell]) -> bool:
    """True if no cell holds anything."""
    return all(map(blank, cells))


def filled(cells: Sequence[Cell]) -> list[Cell]:
    """The cells that hold something."""
    return [cell for cell in cells if not blank(cell)]


def looks_like_data(cell: Cell) -> bool:
    """A number, an address, a date or an identifier: nothing that a column would be called."""
    if not isinstance(cell, str):
        return cell is not None
    if len(cell) > LONGEST_DATUM:
        return False
    text = cell.strip()
    return any(pattern.fullmatch(text) for pattern in (_NUMBER, _ADDRESS, _DATE, _LONG_ID))


def is_number(cell: Cell) -> bool:
    """A number, perhaps with its unit; not a date and not an address."""
    if not isinstance(cell, str):
        return cell is not None
    if len(cell) > LONGEST_DATUM:
        return False
    text = cell.strip()
    return bool(_QUANTITY.fullmatch(text)) and not (_ADDRESS.fullmatch(text) or _DATE.fullmatch(text))


def name_words(cell: Cell) -> list[str]:
    """The words of a column name, lower case; camel case, punctuation and digits divide."""
    return [word.lower() for word in _WORD.findall(_CAMEL.sub(" ", str(cell)))]


def names_something(cell: Cell) -> bool:
    """True if the cell reads like a column name: short, and with a word that such names are made of."""
    if not isinstance(cell, str) or len(cell) > 120 or looks_like_data(cell):
        return False
    return any(word in HEADER_WORDS or word.rstrip("0123456789") in HEADER_WORDS for word in name_words(cell))


def header_share(cells: Sequence[Cell]) -> float:
    """The share of the filled cells that read like column names, 0..1."""
    held = filled(cells)
    return sum(map(names_something, held)) / len(held) if held else 0.0


def identifies(cell: Cell) -> bool:
    """True for the name of a column that tells rows apart."""
    return bool(_IDENTITY.intersection(name_words(cell)))


def is_measure(cell: Cell) -> bool:
    """True for a column name that needs its heading: `Cores`, `Usage %`, `GB`."""
    words = name_words(cell)
    return bool(words) and all(word in MEASURE_WORDS for word in words)


def is_total(cells: Sequence[Cell]) -> bool:
    """A row that sums up others: it begins with a word for total and holds nothing else but numbers, at least one."""
    held = filled(cells)
    if (
        len(held) < 2
        or not isinstance(held[0], str)
        or len(held[0]) > LONGEST_MARK
        or not _TOTAL.fullmatch(held[0].strip())
    ):
        return False
    return all(map(is_number, held[1:]))


def begins_total(cell: Cell) -> bool:
    """True for a word for total, alone or before what is summed up: `Total Leeds`."""
    if not isinstance(cell, str) or len(cell) > LONGEST_MARK:
        return False
    return bool(_TOTAL.fullmatch(cell.strip()) or _TOTAL_OF.match(cell.strip()))


def is_footnote(text: str, *, words: bool) -> bool:
    """A note below the rows: it begins with `*`, holds a colon or a date, or (where `words` tell) has several words."""
    bare = text.strip()[:LONGEST_MARK]
    if bare.startswith("*") or re.search(r":(?:\s|$)", bare):
        return True
    if any(_DATE.fullmatch(word) for word in bare.split()):
        return True
    return words and len(bare.split()) > 1


def counted(count: int, one: str, many: str) -> str:
    """A figure with its word: `1 row`, `3 rows`."""
    return f"{count:,} {one if count == 1 else many}"


def may_be_apart(cell: Cell) -> bool:
    """True if a row whose first filled cell is this one may be a total, a remark or a rule."""
    if not isinstance(cell, str):
        return False
    text = cell.strip()[:LONGEST_MARK]
    return bool(_TOTAL.fullmatch(text) or _TOTAL_OF.match(text) or _REMARK.match(text) or _RULE.fullmatch(text))


def is_remark(cells: Sequence[Cell], width: int) -> bool:
    """A line about the table: `# ...`, `Note: ...`, `Generated on ...`; at most a cell or two of a wider table."""
    held = filled(cells)
    if not held or not isinstance(held[0], str):
        return False
    text = held[0].strip()[:LONGEST_MARK]
    if all(isinstance(cell, str) and len(cell) < LONGEST_MARK and _RULE.fullmatch(cell.strip()) for cell in held):
        return len(held) > 1 or width == 1 or len(text) >= 5
    if not _REMARK.match(text):
        return False
    if width == 1:
        return bool(re.match(r"#\s|//|<!--", text))
    if re.match(r"#\s|//|<!--|/\*", text):
        return len(held) < width
    return len(held) <= max(1, min(2, width // 2 - 1)) or (text.startswith("#") and len(held) * 2 < width)
