"""The words of column names in other languages, in English."""

from __future__ import annotations

import unicodedata

_LETTERS = str.maketrans(
    {
        "ß": "ss",
        "ẞ": "SS",
        "ł": "l",
        "Ł": "L",
        "ø": "o",
        "Ø": "O",
        "đ": "d",
        "Đ": "D",
        "ı": "i",
        "æ": "ae",
        "Æ": "AE",
        "œ": "oe",
        "Œ": "OE",
    }
)


def folded(text: str) -> str:
    """Without accents and full-width forms; `ß` is `ss`, `ł` is `l`."""
    if text.isascii():
        return text
    decomposed = unicodedata.normalize("NFKD", text.translate(_LETTERS))
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


ARTICLES = frozenset(
    {"de", "del", "della", "delle", "dello", "dell", "degli", "dei", "di", "du", "des", "da", "do", "dos", "das", "der",
     "die", "den", "dem", "von", "van", "het", "la", "le", "les", "el", "los", "il", "lo", "d", "l", "the", "of",
     "en", "y", "e", "et", "und", "por", "para", "pour", "mit", "im"}
)  # fmt: skip
_WORDS: dict[str, str] = {
    # names of machines and applications
    "rechner": "computer", "rechnername": "computer name", "servername": "server name", "hostnamen": "hostname",
    "maschine": "machine", "maschinenname": "machine name", "gerat": "device", "geratename": "device name",
    "geraet": "device", "geraetename": "device name", "computername": "computer name", "vmname": "vm name",
    "nom": "name", "nome": "name", "naam": "name", "serveur": "server", "serveurs": "servers", "servidor": "server",
    "servidores": "servers", "equipo": "machine", "maquina": "machine", "macchina": "machine", "ordinateur": "computer",
    "hote": "host", "servernaam": "server name", "computernaam": "computer name", "hostnaam": "hostname",
    "machinenaam": "machine name", "anfitrion": "host", "bezeichnung": "name", "denominazione": "name",
    "nombreservidor": "server name", "nomserveur": "server name", "nombreequipo": "machine name",
    # operating systems
    "betriebssystem": "operating system", "betriebssystemversion": "operating system version", "besturingssysteem":
    "operating system", "systeme": "system", "sistema": "system", "exploitation": "operating", "operativo": "operating",
    "operacional": "operating", "besturings": "operating", "systeem": "system",
    # processors
    "prozessor": "processor", "prozessoren": "processors", "prozessorkerne": "cores", "kerne": "cores", "cpukerne":
    "cores", "prozessoranzahl": "number processors", "cpuanzahl": "number cpus", "processeur": "processor",
    "processeurs": "processors", "coeur": "core", "coeurs": "cores", "procesador": "processor", "procesadores":
    "processors", "nucleo": "core", "nucleos": "cores", "processore": "processor", "processori": "processors",
    "processador": "processor", "processadores": "processors", "processoren": "processors", "kernen": "cores",
    "auslastung": "utilization", "cpuauslastung": "cpu utilization", "speicherauslastung": "memory utilization",
    "uso": "usage", "utilizzo": "utilization", "utilizacion": "utilization", "utilizacao": "utilization", "gebruik":
    "usage", "belasting": "utilization", "durchschnitt": "average", "mittelwert": "average", "moyenne": "average",
    "promedio": "average", "media": "average", "maximal": "max", "spitze": "peak", "takt": "mhz", "taktfrequenz": "mhz",
    # memory and storage
    "arbeitsspeicher": "memory", "hauptspeicher": "memory", "arbeitsspeichergrosse": "memory size", "memoire": "memory",
    "memoria": "memory", "geheugen": "memory", "werkgeheugen": "memory", "vive": "", "speicher": "memory",
    "festplatte": "disk", "festplatten": "disk", "festplattengrosse": "disk size", "plattenplatz": "disk space",
    "festplattenplatz": "disk space", "speicherplatz": "disk space", "plattenkapazitat": "disk capacity", "massenspeicher":
    "storage", "festplattenkapazitat": "disk capacity", "disque": "disk", "disques": "disk", "stockage": "storage",
    "disco": "disk", "discos": "disk", "dischi": "disk", "almacenamiento": "storage", "armazenamento": "storage",
    "archiviazione": "storage", "schijf": "disk", "schijfruimte": "disk space", "opslag": "storage", "opslagruimte":
    "storage", "grosse": "size", "groesse": "size", "taille": "size", "tamano": "size", "tamanho": "size", "dimensione":
    "size", "grootte": "size", "kapazitat": "capacity", "kapazitaet": "capacity", "capacite": "capacity", "capacidad":
    "capacity", "capacita": "capacity", "capacidade": "capacity", "capaciteit": "capacity", "belegt": "used",
    "genutzt": "used", "utilise": "used", "usado": "used", "utilizzato": "used", "gebruikt": "used", "frei": "free",
    "libre": "free", "libero": "free", "livre": "free", "vrij": "free", "installiert": "installed", "gesamt": "total",
    "laufwerk": "drive", "espacio": "space", "espace": "space", "spazio": "space", "espaco": "space",
    # where, what for, whose
    "umgebung": "environment", "umgebungstyp": "environment", "environnement": "environment", "entorno": "environment",
    "ambiente": "environment", "omgeving": "environment", "standort": "location", "emplacement": "location",
    "ubicacion": "location", "ubicazione": "location", "localizacao": "location", "localidade": "location", "locatie":
    "location", "sede": "site", "sitio": "site", "rechenzentrum": "datacenter", "ort": "location", "lieu": "location",
    "rekencentrum": "datacenter", "kritikalitat": "criticality", "kritikalitaet": "criticality", "kritizitat":
    "criticality", "criticite": "criticality", "criticidad": "criticality", "criticita": "criticality", "criticidade":
    "criticality", "kritikaliteit": "criticality", "criticaliteit": "criticality", "wichtigkeit": "importance",
    "prioritat": "priority", "priorite": "priority", "prioridad": "priority", "prioridade": "priority", "priorita":
    "priority", "verantwortlicher": "owner", "verantwortlich": "owner", "eigentumer": "owner", "eigentuemer": "owner",
    "besitzer": "owner", "ansprechpartner": "contact", "proprietaire": "owner", "responsable": "owner", "propietario":
    "owner", "responsabile": "owner", "proprietario": "owner", "responsavel": "owner", "dono": "owner", "eigenaar":
    "owner", "technischer": "technical", "technique": "technical", "tecnico": "technical", "technisch": "technical",
    "technische": "technical", "fachlicher": "business", "fachlich": "business", "metier": "business", "negocio":
    "business", "zakelijk": "business", "betreuer": "administrator", "administrateur": "administrator",
    "administrador": "administrator", "beheerder": "administrator", "amministratore": "administrator", "abteilung":
    "department", "fachbereich": "department", "bereich": "department", "departement": "department", "departamento":
    "department", "reparto": "department", "dipartimento": "department", "afdeling": "department", "beschreibung":
    "description", "descripcion": "description", "descrizione": "description", "descricao": "description",
    "omschrijving": "description", "beschrijving": "description", "bemerkung": "remark", "bemerkungen": "remark",
    "kommentar": "comment", "anwendung": "application", "anwendungen": "application", "anwendungsname":
    "application name", "applikation": "application", "aplicacion": "application", "applicazione": "application",
    "aplicacao": "application", "aplicativo": "application", "applicatie": "application", "toepassing": "application",
    "fachanwendung": "application", "rolle": "role", "rol": "role", "ruolo": "role", "funktion": "function",
    "funcion": "function", "fonction": "function", "funzione": "function", "typ": "type", "tipo": "type", "art": "type",
    "zustand": "state", "etat": "state", "estado": "state", "stato": "state", "situacao": "state", "betriebszustand":
    "power state", "energiestatus": "power state", "alimentation": "power", "encendido": "power", "alimentazione":
    "power",
    # hardware and network
    "adresse": "address", "ipadresse": "ip address", "ipadressen": "ip addresses", "macadresse": "mac address",
    "adressen": "addresses", "adresses": "addresses", "direccion": "address", "direcciones": "addresses", "indirizzo":
    "address", "indirizzi": "addresses", "endereco": "address", "enderecos": "addresses", "adres": "address",
    "ipadres": "ip address", "seriennummer": "serial number", "serie": "serial",
    "matricola": "serial", "serienummer": "serial number", "hersteller": "manufacturer", "fabricant": "manufacturer",
    "fabricante": "manufacturer", "produttore": "manufacturer", "fabrikant": "manufacturer", "constructeur":
    "manufacturer", "modell": "model", "modele": "model", "modelo": "model", "modello": "model", "nummer": "number",
    "numero": "number", "anzahl": "number", "aantal": "number", "cantidad": "number", "quantite": "number",
    "quantidade": "number", "beheer": "management",
    # connections, software, time
    "quelle": "source", "quell": "source", "quellserver": "source server", "quellsystem": "source system", "quellip":
    "source ip", "zielserver": "target server", "zielsystem": "target system", "zielip": "target ip", "zielport":
    "target port", "ziel": "target", "cible": "target", "origine": "source", "origen": "source", "origem": "source",
    "destino": "target", "destinazione": "target", "bron": "source", "doel": "target", "bestemming": "target",
    "puerto": "port", "porta": "port", "poort": "port", "protokoll": "protocol", "protocole": "protocol", "protocolo":
    "protocol", "protocollo": "protocol", "protocol": "protocol", "prozess": "process", "processus": "process",
    "proceso": "process", "processo": "process", "proces": "process", "logiciel": "software", "produkt": "product",
    "produit": "product", "producto": "product", "prodotto": "product", "produto": "product", "programm": "program",
    "editeur": "vendor", "herausgeber": "vendor", "proveedor": "vendor", "fornitore": "vendor", "leverancier": "vendor",
    "lizenz": "licence", "lizenzen": "licences", "lizenztyp": "licence type", "licencia": "licence", "licencias":
    "licences", "licenza": "licence", "licenze": "licences", "licenca": "licence", "licentie": "licence", "ablaufdatum":
    "expiry date", "gultig": "valid", "bis": "until", "datum": "date", "fecha": "date", "data": "date", "zeitstempel":
    "timestamp", "zeitpunkt": "timestamp", "uhrzeit": "time", "horodatage": "timestamp", "heure": "time", "hora":
    "time", "ora": "time", "tijdstip": "timestamp", "zuletzt": "last", "gesehen": "seen", "dernier": "last", "ultimo":
    "last", "ultima": "last", "laatst": "last", "laatste": "last", "abhangigkeiten": "dependencies", "abhaengigkeiten":
    "dependencies", "dependances": "dependencies", "dependencias": "dependencies", "dipendenze": "dependencies",
    "afhankelijkheden": "dependencies", "datenbank": "database", "datenbanken": "databases", "utilisateurs": "users",
    "benutzer": "users", "usuarios": "users", "utenti": "users", "gebruikers": "users", "physisch": "physical",
    "schlussel": "key", "wert": "value", "valeur": "value", "valor": "value", "valore": "value", "waarde": "value",
    "clave": "key", "cle": "key", "chiave": "key", "vm": "vm",
    # more forms of these
    "nb": "number", "utilisee": "used", "utilises": "used", "utilisees": "used", "usada":
    "used", "usados": "used", "utilizado": "used", "utilizada": "used", "utilizzata": "used", "belegter": "used", "genutzter":
    "used", "verwendet": "used", "verwendeter": "used", "derniere": "last", "vue": "seen", "vu": "seen", "visto": "seen",
    "vista": "seen", "gezien": "seen", "platte": "disk", "platten": "disk", "plattengrosse": "disk size", "plattenspeicher":
    "disk storage", "kernanzahl": "number cores", "kern": "core", "letzter": "last", "letzte": "last", "letztes": "last",
    # Scandinavian languages
    "namn": "name", "navn": "name", "servernamn": "server name", "servernavn": "server name", "vartsnamn": "hostname",
    "vaertsnavn": "hostname", "vertsnavn": "hostname", "operativsystem": "operating system", "styresystem":
    "operating system", "minne": "memory", "hukommelse": "memory", "lagring": "storage", "karnor": "cores", "kerner":
    "cores", "kjerner": "cores", "storlek": "size", "storrelse": "size", "kapacitet": "capacity", "kapasitet": "capacity",
    "miljo": "environment", "plats": "location", "placering": "location", "plassering": "location", "agare": "owner",
    "ejer": "owner", "eier": "owner", "tillverkare": "manufacturer", "produsent": "manufacturer", "beskrivning":
    "description", "beskrivelse": "description", "antal": "number", "antall": "number", "avdelning": "department",
    "avdeling": "department", "kritikalitet": "criticality", "anvand": "used", "brukt": "used", "ledig": "free",
    # Polish, Czech, Slovak
    "nazwa": "name", "nazev": "name", "nazov": "name", "jmeno": "name", "meno": "name", "serwera": "server", "serwer":
    "server", "serveru": "server", "hosta": "host", "operacyjny": "operating", "operacni": "operating", "operacny":
    "operating", "pamiec": "memory", "pamiec ram": "memory", "pamet": "memory", "pamat": "memory", "dysk": "disk",
    "dysku": "disk", "disku": "disk", "rozmiar": "size", "velikost": "size", "velkost": "size", "pojemnosc": "capacity",
    "kapacita": "capacity", "rdzenie": "cores", "rdzeni": "cores", "jadra": "cores", "jader": "cores", "procesory":
    "processors", "procesorow": "processors", "procesoru": "processors", "liczba": "number", "pocet": "number",
    "srodowisko": "environment", "prostredi": "environment", "prostredie": "environment", "lokalizacja": "location",
    "umisteni": "location", "umiestnenie": "location", "lokalita": "location", "wlasciciel": "owner", "vlastnik":
    "owner", "producent": "manufacturer", "vyrobce": "manufacturer", "vyrobca": "manufacturer", "opis": "description",
    "popis": "description", "aplikacja": "application", "aplikace": "application", "aplikacia": "application", "adresa":
    "address", "dzial": "department", "oddeleni": "department", "zajete": "used", "wolne": "free", "volne": "free",
    # Turkish
    "sunucu": "server", "adi": "name", "isletim": "operating", "sistemi": "system", "bellek": "memory", "depolama":
    "storage", "cekirdek": "core", "sayisi": "number", "boyutu": "size", "boyut": "size", "ortam": "environment",
    "konum": "location", "sahibi": "owner", "uygulama": "application", "aciklama": "description", "adresi": "address",
    # Russian
    "имя": "name", "название": "name", "наименование": "name", "сервер": "server", "сервера": "server", "хост": "host",
    "хоста": "host", "ос": "os", "операционная": "operating", "операционной": "operating", "система": "system",
    "системы": "system", "оперативная": "", "память": "memory", "памяти": "memory", "озу": "ram", "диск": "disk",
    "диска": "disk", "диски": "disks", "хранилище": "storage", "объем": "size", "размер": "size", "ядра": "cores",
    "ядер": "cores", "процессор": "processor", "процессоры": "processors", "процессоров": "processors", "количество":
    "number", "среда": "environment", "окружение": "environment", "расположение": "location", "площадка": "site", "цод":
    "datacenter", "владелец": "owner", "приложение": "application", "описание": "description", "статус": "status",
    "состояние": "state", "адрес": "address", "производитель": "manufacturer", "модель": "model", "серийный": "serial",
    "номер": "number", "отдел": "department", "кб": "kb", "мб": "mb", "гб": "gb", "тб": "tb",
    # Chinese, Japanese
    "服务器": "server", "服务器名": "server name", "服务器名称": "server name", "主机名": "hostname", "主机": "host", "名称": "name",
    "操作系统": "operating system", "内存": "memory", "处理器": "processor", "核数": "cores", "核心数": "cores", "磁盘": "disk", "硬盘":
    "disk", "存储": "storage", "容量": "capacity", "大小": "size", "环境": "environment", "位置": "location", "机房": "datacenter",
    "负责人": "owner", "应用": "application", "应用名称": "application name", "状态": "status", "地址": "address", "描述":
    "description", "序列号": "serial number", "厂商": "manufacturer", "型号": "model", "部门": "department", "サーバー名":
    "server name", "サーバ名": "server name", "ホスト名": "hostname", "メモリ": "memory", "メモリー": "memory", "コア数": "cores", "ディスク":
    "disk", "ディスク容量": "disk capacity", "ストレージ": "storage", "環境": "environment", "場所": "location", "所有者": "owner", "担当者":
    "owner", "アプリケーション": "application", "状態": "state", "アドレス": "address", "説明": "description", "シリアル番号": "serial number",
    "メーカー": "manufacturer", "部署": "department",
}  # fmt: skip
FOREIGN: dict[str, str] = {folded(word): meaning for word, meaning in _WORDS.items()}
"""Words in lower case and folded; English words may be among them, for what they are in another spelling."""
