"""The words estates use in several languages: placeholders, environments, criticality, power states, kinds, yes and no.

English, German, French, Spanish, Italian, Portuguese and Dutch; looked up without case, accents and underscores.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

from estate.tables import Cell

MAX_CHARACTERS = 200
"""A longer text is none of the words."""


def folded(text: str) -> str:
    """Lower case, without accents, underscores as blanks, blanks single: the form in which words are looked up."""
    lower = " ".join(text.lower().replace("_", " ").split())
    if lower.isascii():
        return lower
    parts = unicodedata.normalize("NFD", lower)
    return "".join(char for char in parts if not unicodedata.combining(char))


def _listed(lists: Mapping[str, str]) -> dict[str, str]:
    """`{word: meaning}` of `{meaning: "word; word"}`, each word as it is written and folded."""
    found: dict[str, str] = {}
    for meaning, words in lists.items():
        for word in (word.strip() for word in words.split(";")):
            found[word] = meaning
            found[folded(word)] = meaning
    return found


_PLACEHOLDER_WORDS = """
- ; -- ; --- ; ---- ; – ; — ; -/- ; . ; .. ; ... ; … ; _ ; __ ; ? ; ?? ; ??? ; * ; # ; / ; \\n ; 'n/a ; n/a ; na ; n.a. ; n.a
n\\a ; n / a ; n/k ; #n/a ; #n/v ; #nv ; #null! ; #ref! ; #value! ; #wert! ; #name? ; #div/0! ; #bezug! ; null ; nil ; none ; (none)
[none] ; <none> ; (null) ; <null> ; [null] ; nan ; tbd ; tba ; tbc ; t.b.d. ; t.b.d ; tbd. ; (tbd) ; <tbd> ; [tbd] ; unknown
(unknown) ; <unknown> ; [unknown] ; unknown. ; unk ; undefined ; (undefined) ; not available ; not applicable ; not known
not collected ; not set ; <not set> ; (not set) ; not specified ; unspecified ; unassigned ; not assigned ; not defined ; not provided
not reported ; not found ; not recorded ; no data ; no value ; no info ; no information ; missing ; don't know ; dont know
[] ; []; ; {} ; () ; <> ; "" ; '' ; xxx ; blank ; (blank) ; <blank> ; empty ; (empty) ; <empty> ; to be determined ; to be confirmed
to be defined ; to be advised ; to be filled ; to be decided ; none specified ; none provided ; none assigned
unbekannt ; (unbekannt) ; keine ; keiner ; keines ; k.a. ; k. a. ; k.a ; keine angabe ; keine angaben ; nicht verfügbar
nicht bekannt ; nicht zutreffend ; nicht gesetzt ; nicht zugewiesen ; nicht definiert ; nicht vorhanden ; n.v. ; n. v. ; leer ; (leer) ; entfällt ; wird noch festgelegt
inconnu ; inconnue ; non renseigné ; non renseignée ; non disponible ; non défini ; non définie ; non applicable ; sans objet
néant ; aucun ; aucune ; à définir ; à déterminer ; à compléter ; s/o ; s.o. ; n/d ; n.d. ; n.r. ; vide ; (vide)
desconocido ; desconocida ; no disponible ; no aplica ; no definido ; no asignado ; sin datos ; sin definir ; sin asignar ; ninguno ; ninguna ; por definir ; por determinar ; s/d ; vacío
sconosciuto ; sconosciuta ; non disponibile ; non applicabile ; non definito ; non assegnato ; nessuno ; nessuna ; da definire ; vuoto
desconhecido ; desconhecida ; não disponível ; não se aplica ; não definido ; não informado ; nenhum ; nenhuma ; a definir ; sem informação
onbekend ; niet beschikbaar ; niet van toepassing ; n.v.t. ; nvt ; geen ; nog te bepalen ; leeg
"""
PLACEHOLDERS = frozenset({""}) | frozenset(
    form
    for line in _PLACEHOLDER_WORDS.strip().splitlines()
    for word in line.split(" ; ")
    for form in (word.strip(), folded(word), folded(word).replace(" ", "_"))
)
SERIAL_PLACEHOLDERS = frozenset(
    {"0", "none", "default string", "system serial number", "chassis serial number", "base board serial number",
     "to be filled by o.e.m.", "to be filled by oem", "o.e.m.", "oem", "not specified", "serial number", "serialnumber",
     "123456789", "1234567890", "0123456789", "invalid", "vmware", "virtual machine", "system product name",
     "system manufacturer", "no enclosure"}
)  # fmt: skip
"""What firmware says where nobody wrote a serial number."""
UUID_PLACEHOLDERS = frozenset(
    {"00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff",
     "03000200-0400-0500-0006-000700080009", "12345678-1234-5678-90ab-cddeefaabbcc"}
)  # fmt: skip
"""UUIDs that many machines say."""

LOCAL_NAMES = frozenset({"localhost", "localhost.localdomain", "localhost.local", "localhost4", "localhost6",
                         "localhost6.localdomain6", "none", "unknown", "(none)"})  # fmt: skip
"""What every machine calls itself before somebody names it; no host's own name."""

ENVIRONMENTS: dict[str, str] = _listed(
    {
        "production": "production; prod; prd; live; p; prod.; produktion; produktiv; produktivumgebung; "
        "produktivsystem; producción; produccion; produzione; produção; productie; en production; productive; "
        "productivo; produktionsumgebung; production environment; produktivbetrieb; echtbetrieb; wirkbetrieb; "
        "productieomgeving; environnement de production",
        "development": "development; develop; dev; dev.; d; entwicklung; entw; entw.; entwicklungsumgebung; "
        "développement; desarrollo; sviluppo; desenvolvimento; ontwikkeling; development environment; devl",
        "test": "test; testing; tst; qa; qas; quality; quality assurance; sit; t; testumgebung; testsystem; tests; "
        "integration; int; integration test; system test; intégration; integración; integratie; qualification; "
        "qualif; pruebas; prueba; qualitätssicherung; qs; testes; teste; test environment; prova; integrazione; essai; essais; ensayo; ensayos; testbetrieb; testomgeving; "
        "functional test; testen",
        "staging": "staging; stage; stg; uat; acceptance; preprod; pre-prod; pre-production; preproduction; "
        "pre production; pre prod; acc; user acceptance; user acceptance test; user acceptance testing; abnahme; "
        "abnahmetest; vorproduktion; vorprod; recette; préproduction; pré-production; preproducción; "
        "preproduccion; collaudo; preproduzione; homologação; homolog; pré-produção; acceptatie; ppd; pprd; ppr",
        "training": "training; trn; train; schulung; formation; formación; formazione; treinamento; opleiding; "
        "education",
        "sandbox": "sandbox; sbx; sand box; lab; labor; poc; proof of concept; playground; bac à sable; laboratorio; "
        "laboratoire; spielwiese",
        "disaster_recovery": "dr; disaster recovery; bcp; d/r; disaster; dr site; notfall; notfallvorsorge; k-fall; "
        "secours; contingencia; standby; failover; disaster-recovery; drp; recuperación",
        "non_production": "non-production; non-prod; nonprod; non production; non prod; nonproduction; nprd; "
        "nicht-produktiv; nicht produktiv; nichtproduktiv; hors production; hors prod; no productivo; no producción",
    }
)
_ENVIRONMENT_BREAKERS = frozenset(
    {"like", "copy", "clone", "former", "ex", "old", "alt", "ehemals", "nicht", "not", "non", "no", "pre", "pre-prod", "vor",
     "hors", "restore", "mirror", "shared", "all", "any", "ehemalige", "near", "semi", "pseudo", "post", "backup"}
)  # fmt: skip
"""Words beside which the name of an environment means something else."""

_SHORT_TOKENS = frozenset({"dr", "qa"})

CRITICALITIES: dict[str, str] = _listed(
    {
        "critical": "critical; mission critical; mission-critical; business critical; business-critical; very high; "
        "highest; tier 0; tier 1; tier-0; tier-1; tier0; tier1; p1; platinum; vital; most critical; highly critical; "
        "safety critical; extremely high; kritisch; geschäftskritisch; unternehmenskritisch; sehr hoch; critique; "
        "très élevée; très élevé; crítico; crítica; muy alta; muy alto; misión crítica; critico; critica; "
        "molto alta; molto alto; muito alta; muito alto; kritiek; zeer hoog; bedrijfskritisch",
        "high": "high; important; tier 2; tier-2; tier2; p2; gold; somewhat critical; business important; hoch; "
        "wichtig; élevé; élevée; haut; haute; forte; alto; alta; importante; hoog; belangrijk",
        "medium": "medium; moderate; normal; standard; tier 3; tier-3; tier3; p3; silver; med; business operational; "
        "less critical; mittel; moyen; moyenne; modéré; modérée; media; medio; moderado; moderada; média; médio; "
        "gemiddeld; middel; average; normale",
        "low": "low; very low; lowest; minor; non-critical; non critical; noncritical; not critical; tier 4; tier-4; "
        "tier4; p4; bronze; administrative; niedrig; gering; sehr niedrig; unkritisch; nicht kritisch; faible; bas; "
        "basse; non critique; baja; bajo; no crítico; no crítica; bassa; basso; non critico; baixa; baixo; laag; "
        "niet kritisch; unimportant; negligible",
    }
)
POWER_STATES: dict[str, str] = _listed(
    {
        "on": "poweredon; powered on; on; running; up; started; vm running; power on; powerstate/running; online; "
        "poweron; turned on; booted; eingeschaltet; ein; läuft; an; gestartet; allumé; allumée; sous tension; "
        "en marche; en cours d'exécution; démarré; encendido; encendida; en ejecución; acceso; accesa; in esecuzione; "
        "ligado; ligada; em execução; aan; ingeschakeld; actief; power state: on; true",
        "off": "poweredoff; powered off; off; stopped; down; shutdown; shut down; deallocated; vm deallocated; "
        "vm stopped; power off; poweroff; offline; turned off; shutoff; shut off; stopped (deallocated); terminated; "
        "powerstate/deallocated; powerstate/stopped; halted; ausgeschaltet; aus; gestoppt; heruntergefahren; éteint; "
        "éteinte; hors tension; arrêté; arrêtée; apagado; apagada; detenido; spento; spenta; arrestato; desligado; "
        "desligada; parado; uit; uitgeschakeld; gestopt; power state: off; false",
        "suspended": "suspended; paused; saved; hibernated; standby; sleeping; vm suspended; suspendiert; angehalten; "
        "pausiert; ruhezustand; suspendu; suspendue; en pause; suspendido; suspendida; pausado; sospeso; sospesa; "
        "suspenso; onderbroken; gepauzeerd",
    }
)
ASSET_TYPES: dict[str, str] = _listed(
    {
        "server": "server; physical; physical server; bare metal; bare-metal; cmdb_ci_server; windows server; "
        "linux server; unix server; cmdb_ci_win_server; cmdb_ci_linux_server; cmdb_ci_unix_server; host; hypervisor; "
        "hypervisor host; esx server; esx host; esxi; esxi server; esxi host; vmware host; hyper-v host; "
        "virtualization host; virtualisation host; kvm host; ahv host; xen host; cmdb_ci_hyper_v_server; "
        "cmdb_ci_esx_server; blade; blade server; rack server; physischer server; "
        "serveur physique; servidor físico; servidor; serveur; physical machine; mainframe; physical host",
        "virtual_machine": "virtual_machine; virtual machine; vm; virtual; virtual server; vmware virtual machine; "
        "guest; cmdb_ci_vm_instance; cmdb_ci_vmware_instance; virtuelle maschine; virtueller server; "
        "machine virtuelle; serveur virtuel; máquina virtual; servidor virtual; macchina virtuale; "
        "virtual machine instance; ec2 instance; instance; hyper-v virtual machine; virtuell; "
        "template; vm template; virtual machine template; cmdb_ci_vmware_template; golden image; vorlage; "
        "vm-vorlage; plantilla; modello; modèle",
        "database": "database; db; database server; db server; sql; database instance; cmdb_ci_database; "
        "cmdb_ci_db_instance; cmdb_ci_db_mssql_instance; cmdb_ci_db_ora_instance; datenbank; datenbankserver; "
        "base de données; base de datos; rds; sql server instance",
        "application": "application; app; business application; cmdb_ci_appl; cmdb_ci_business_app; anwendung; "
        "applikation; aplicación; applicazione; business service; cmdb_ci_service",
        "network_device": "network; network device; network_device; router; switch; firewall; network gear; "
        "access point; cmdb_ci_netgear; cmdb_ci_ip_switch; cmdb_ci_ip_router; cmdb_ci_ip_firewall; netzwerkgerät; "
        "équipement réseau; dispositivo de red; network switch; ip switch; ip router; ip firewall; wireless controller",
        "load_balancer": "load balancer; load_balancer; lb; adc; cmdb_ci_lb; cmdb_ci_lb_bigip; load-balancer; "
        "loadbalancer; application delivery controller",
        "storage": "storage; nas; san; storage array; filer; storage device; cmdb_ci_storage_device; "
        "cmdb_ci_storage_server; speicher; stockage; almacenamiento; storage server; san array; tape library",
        "appliance": "appliance; virtual appliance; hardware appliance; security appliance",
        "container": "container; pod; docker; docker container; kubernetes pod; cmdb_ci_docker_container",
        "other": "other; sonstige; sonstiges; autre; otro; altro; cluster; failover cluster; windows cluster; "
        "cmdb_ci_cluster; cmdb_ci_win_cluster; cmdb_ci_cluster_vip; cluster vip; vip; virtual ip",
    }
)

TEMPLATE_TYPES = frozenset(
    {"template", "vm template", "virtual machine template", "cmdb ci vmware template", "golden image", "vorlage", "vm-vorlage",
     "plantilla", "modello", "modele"}
)  # fmt: skip
"""Types, folded, of what machines are made from."""
HYPERVISOR_TYPES = frozenset(
    {"hypervisor", "hypervisor host", "esx server", "esx host", "esxi", "esxi server", "esxi host", "vmware host",
     "hyper-v host", "virtualization host", "virtualisation host", "kvm host", "ahv host", "xen host",
     "cmdb ci esx server", "cmdb ci hyper v server"}
)  # fmt: skip
"""Types, folded, of servers on which machines run."""

TRUE_WORDS = frozenset(
    {"true", "yes", "y", "1", "wahr", "vrai", "x", "t", "ja", "j", "oui", "si", "sí", "sim", "vero", "verdadero", "verdadeiro",
     "waar", "enabled", "✓", "✔", "☑", "checked", "present", "1.0"}
)  # fmt: skip
FALSE_WORDS = frozenset(
    {"false", "no", "n", "0", "falsch", "faux", "f", "nein", "non", "nao", "não", "falso", "onwaar", "nee", "disabled", "✗",
     "✘", "☐", "unchecked", "absent", "not present", "0.0"}
)  # fmt: skip
_PHYSICAL = {"physical": True, "physical server": True, "bare metal": True, "hardware": True, "physisch": True,
             "physique": True, "virtual": False, "vm": False, "virtual machine": False, "virtual server": False,
             "virtuell": False, "virtuel": False, "virtuelle": False}  # fmt: skip


def is_placeholder(text: str) -> bool:
    """Does this text only say that nobody knows?"""
    return len(text) <= MAX_CHARACTERS and _is_placeholder(text)


@lru_cache(maxsize=65536)
def _is_placeholder(text: str) -> bool:
    lower = text.strip().lower()
    return lower in PLACEHOLDERS or (not lower.isascii() and folded(lower) in PLACEHOLDERS)


@lru_cache(maxsize=8192)
def environment_of(text: str) -> str | None:
    """The environment a text names (`PRD1`, `Prod - Europe`, `producción`); None when it names none or several.

    Whole words only: `preprod` is staging, a `prod-like test` is neither.
    """
    whole = folded(text[:MAX_CHARACTERS])
    known = _numbered(whole, ENVIRONMENTS)
    if known is not None or len(text) > MAX_CHARACTERS:
        return known
    joined = re.sub(r"\b(pre|non|vor|nicht|hors|disaster|quality|user)[\s-]+", r"\1-", whole)
    tokens = [
        token
        for token in re.split(r"[\s/(),.:;|\[\]&+]+|(?<!pre)(?<!non)(?<!vor)(?<!nicht)(?<!hors)-", joined)
        if token
    ]
    said = {
        known
        for token in tokens
        if (len(token) > 2 or token in _SHORT_TOKENS) and (known := _numbered(token, ENVIRONMENTS)) is not None
    }
    if len(said) != 1 or not _ENVIRONMENT_BREAKERS.isdisjoint(tokens):
        return None
    ends = [_numbered(token, ENVIRONMENTS) for token in (tokens[0], tokens[-1]) if len(token) > 2]
    return next((known for known in ends if known is not None), None)


def _numbered(text: str, vocabulary: Mapping[str, str]) -> str | None:
    """Looked up as it is, then without a number behind (`prd1`, `test 02`)."""
    known = vocabulary.get(text) or vocabulary.get(text.rstrip("."))
    if known is None and text[-1:].isdigit():
        bare = text.rstrip("0123456789").rstrip(" -#.")
        known = vocabulary.get(bare) if len(bare) > 1 else None
    return known


@lru_cache(maxsize=8192)
def criticality_of(text: str) -> str | None:
    """`critical, high, medium, low`; None when the text is none of the words for them. `1 - Critical` is read by its
    word."""
    whole = folded(text)
    bare = re.sub(r"^\d\s*[-–:.)]\s*|\s*\(\d\)$|\s+(?:criticality|priority|importance)$", "", whole)
    return CRITICALITIES.get(whole) or CRITICALITIES.get(bare)


@lru_cache(maxsize=8192)
def power_state_of(text: str) -> str | None:
    """`on, off, suspended`; None when the text is none of the words for them."""
    return POWER_STATES.get(folded(text))


@lru_cache(maxsize=8192)
def asset_type_of(text: str) -> str | None:
    """The asset type a word names; None when it names none we know."""
    return ASSET_TYPES.get(folded(text)) or ASSET_TYPES.get(text.strip().lower())


def is_template_type(text: str) -> bool:
    """Is this the type of what machines are made from, and not of a machine?"""
    return folded(text) in TEMPLATE_TYPES


def is_hypervisor_type(text: str) -> bool:
    """Is this the type of a server on which machines run, and that is not moved itself?"""
    return folded(text) in HYPERVISOR_TYPES


def boolean_of(cell: Cell, target: str = "") -> bool | None:
    """True or False of a cell; None when it says neither. For `is_physical` the words physical and virtual say it."""
    if isinstance(cell, bool):
        return cell
    text = str(cell).strip().lower()
    if target == "is_physical" and text in _PHYSICAL:
        return _PHYSICAL[text]
    return True if text in TRUE_WORDS else False if text in FALSE_WORDS else None
