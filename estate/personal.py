"""Credentials and personal data in cells: found by shape and by the whole words of a header, and shown masked.

Names of servers, UUIDs, serial numbers, hashes, addresses and MAC addresses are no secrets; a column about passwords
(`Password Policy`) is no column of passwords.
"""

from __future__ import annotations

import re
from array import array
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from estate.tables import Cell, Codes
from estate.vocabulary import is_placeholder

SECRET = "[secret]"  # noqa: S105 - what is shown in its place
CREDENTIALS = (
    "password", "private_key", "access_key", "token", "connection_string", "licence_key",
)  # fmt: skip
PERSONAL = ("email", "phone", "credit_card", "bank_account", "national_id")
WORDS = {
    "password": "a password", "private_key": "a private key", "access_key": "an access key", "token": "a token",
    "connection_string": "an address or connection string with its password", "licence_key": "a licence key", "email": "an e-mail address",
    "phone": "a telephone number", "credit_card": "a payment card number", "bank_account": "a bank account number",
    "national_id": "a national identity number",
}  # fmt: skip
"""The kinds of flags in a sentence."""


@dataclass(frozen=True, slots=True)
class Flag:
    """Cells of a column that hold one kind of thing: `codes` are their places among the distinct cells."""

    kind: str
    count: int
    codes: Codes

    @property
    def is_credential(self) -> bool:
        """Does it open something?"""
        return self.kind in CREDENTIALS


# --- headers ----------------------------------------------------------------------------------------------------

_HEADER_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-zß-ÿ]+|\d+")
_PASSWORDS = frozenset(
    {"password", "passwd", "pwd", "passphrase", "passwort", "kennwort", "contraseña", "contrasena", "senha", "wachtwoord",
     "passwords", "passcode", "pw", "pin", "parola", "mdp", "zugangsdaten"}
)  # fmt: skip
_PHRASES: dict[tuple[str, ...], str] = {
    ("mot", "de", "passe"): "password", ("private", "key"): "private_key", ("ssh", "key"): "private_key",
    ("api", "key"): "access_key", ("apikey",): "access_key", ("access", "key"): "access_key",
    ("secret", "key"): "access_key", ("account", "key"): "access_key", ("shared", "key"): "access_key",
    ("encryption", "key"): "access_key", ("secret",): "access_key", ("secrets",): "access_key",
    ("client", "secret"): "access_key", ("access", "token"): "token", ("auth", "token"): "token",
    ("token",): "token", ("tokens",): "token", ("bearer",): "token", ("sas",): "token",
    ("community", "string"): "password", ("snmp", "community"): "password", ("credential",): "password",
    ("credentials",): "password", ("creds",): "password", ("privater", "schlüssel"): "private_key",
    ("clé", "privée"): "private_key", ("api", "schlüssel"): "access_key", ("clé", "api"): "access_key",
    ("db", "connection"): "connection_string", ("database", "connection"): "connection_string",
    ("connection", "string"): "connection_string", ("connectionstring",): "connection_string",
    ("licence", "key"): "licence_key", ("license", "key"): "licence_key", ("product", "key"): "licence_key",
    ("activation", "key"): "licence_key", ("lizenzschlüssel",): "licence_key", ("clé", "de", "licence"): "licence_key",
}  # fmt: skip
_WEAK = frozenset({("tokens",), ("bearer",), ("sas",)})
_ABOUT = frozenset({"has", "is", "no", "needs", "requires", "require", "uses", "use", "last", "can", "allow", "blank", "max",
                    "min", "days", "number", "count"})  # fmt: skip
_AFTER = frozenset({"value", "values", "text", "plain", "cleartext", "hash", "encrypted"})
_NO_SECRET = frozenset(
    {"yes", "no", "true", "false", "none", "null", "n/a", "na", "set", "not set", "unset", "expired", "never", "required",
     "enabled", "disabled", "unknown", "blank", "empty", "default", "changed", "ok", "ja", "nein", "oui", "non", "vault",
     "cyberark", "keepass", "ldap", "kerberos", "managed", "rotated", "hidden", "redacted", "masked", "-", "tbd"}
)  # fmt: skip
_PHONE_WORDS = frozenset({"phone", "telephone", "tel", "mobile", "cell", "fax", "telefon", "handy", "téléphone", "teléfono",
                          "telefono", "móvil", "mobil", "rufnummer"})  # fmt: skip
_CARD_WORDS = frozenset({"card", "creditcard", "kreditkarte", "tarjeta", "carte"})
_ID_WORDS = frozenset({"ssn", "nin", "nino", "nif", "dni", "nie", "passport", "nir", "pesel", "bsn", "sozialversicherungsnummer",
                       "personalausweis", "steuer", "curp", "aadhaar", "cpf"})  # fmt: skip
_ID_PHRASES = frozenset({("social", "security"), ("national", "id"), ("national", "insurance"), ("tax", "id"),
                         ("identity", "number"), ("sv", "nummer")})  # fmt: skip
_NUMBERED_THINGS = frozenset(
    {"serial", "uuid", "guid", "id", "hash", "number", "no", "key", "asset", "tag", "ticket", "wwn", "wwpn", "lun", "mac", "ip",
     "part", "sku", "imei", "timestamp", "ticks", "time", "date", "version", "bytes", "size", "nummer", "account", "sn"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Header:
    """What a column's name says of its cells."""

    credential: str | None = None
    weak: bool = False
    """The name may as well speak of something else, so a cell has to look like a secret."""
    phone: bool = False
    card: bool = False
    national_id: bool = False
    numbered: bool = False


@lru_cache(maxsize=4096)
def _header(name: str) -> _Header:
    words = [word.lower() for word in _HEADER_WORD.findall(name)]
    while len(words) > 1 and (words[-1].isdigit() or words[-1] in _AFTER):
        words.pop()
    told = set(words)
    pairs = set(pairwise(words))
    credential, weak = None, False
    if words and not told & _ABOUT:
        if words[-1] in _PASSWORDS:
            credential = "password"
        else:
            for length in (3, 2, 1):
                tail = tuple(words[-length:])
                if tail in _PHRASES:
                    credential, weak = _PHRASES[tail], tail in _WEAK
                    break
    return _Header(
        credential,
        weak,
        bool(told & _PHONE_WORDS) and "model" not in told,
        bool(told & _CARD_WORDS) and not told & {"network", "video", "graphics", "sound", "type", "interface", "nic"},
        bool(told & _ID_WORDS or pairs & _ID_PHRASES),
        bool(told & _NUMBERED_THINGS),
    )


# --- shapes -----------------------------------------------------------------------------------------------------

_KEY_NAME = (
    r"(?P<name>(?<![a-z])(?:password|passwd|passphrase|pass|pwd|pw|passwort|kennwort|api[_-]?key|access[_-]?key"
    r"|account[_-]?key|secret[_-]?access[_-]?key|client[_-]?secret|secret[_-]?key|secret|auth[_-]?token|access[_-]?token"
    r"|token|sharedaccesskey|sig))"
)
_KEY_VALUE = re.compile(
    rf"{_KEY_NAME}(?P<between>[\"']?\s*[=:]\s*)(?P<quote>[\"']?)(?P<value>[^\s;,&\"'<>{{}}\[\]]{{4,}})", re.IGNORECASE
)
_URL = re.compile(
    r"(?P<start>\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@]{1,80}:)(?P<value>[^\s/@]{1,200})(?=@[^\s/@])", re.IGNORECASE
)
_ORACLE = re.compile(r"(?P<start>:(?:thin|oci8?):[^\s:/@]{1,80}/)(?P<value>[^\s/@]{1,200})(?=@\S)", re.IGNORECASE)
_PRIVATE_KEY = re.compile(
    r"-----BEGIN (?:[A-Z0-9]+ ){0,2}PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]{1,40}-----|\Z)", re.DOTALL
)
_AWS_KEY = re.compile(r"(?<![A-Za-z0-9])(?:AKIA|ASIA)[0-9A-Z]{16}(?![A-Za-z0-9])")
_JWT = re.compile(r"(?<![\w-])eyJ[\w-]{8,}\.eyJ[\w-]{4,}\.[\w-]*")
_BEARER = re.compile(
    r"\b(?P<start>(?:Bearer|Authorization:\s*Basic)\s+)(?P<value>[A-Za-z0-9._~+/-]{16,}=*)", re.IGNORECASE
)
_KNOWN_TOKEN = re.compile(
    r"(?<![A-Za-z0-9])(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|glpat-[\w-]{20,}|xox[abprs]-[\w-]{10,}"
    r"|sk_live_\w{16,}|AIza[\w-]{35}|npm_[A-Za-z0-9]{36}|hvs\.[\w-]{20,}|dop_v1_[a-f0-9]{64})(?![A-Za-z0-9])"
)
_STATED_NOWHERE = re.compile(r"^(?:[*xX.•#]+|\$?[{(%<].*|%.*%|\[.*|(?:arn|vault):.*)$")
_KEPT_ELSEWHERE = re.compile(r"[*•.#]{3,}|\$\{\w+\}|\{\{[\w .-]+\}\}|(?:arn|vault):\S+")
_CONNECTION_WORDS = re.compile(
    r"\b(?:server|data source|host|user id|uid|user|username|database|initial catalog|accountname|endpoint)\s*=",
    re.IGNORECASE,
)
_EMAIL = re.compile(
    r"(?<![\w.+%:/-])(?P<user>[A-Za-z0-9][\w.+%-]{0,63})@(?P<host>(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.)+[A-Za-z]{2,24})(?![\w-])"
)
_PHONE = re.compile(r"(?<![\w.+])\+\d{1,3}(?:[ ()/-]{1,2}\d{1,9}){1,6}(?![\w.,])")
_LOCAL_PHONE = re.compile(r"\+?[\d ()./-]{7,24}(?:\s*(?:x|ext\.?)\s*\d{1,6})?")
_CARD = re.compile(r"(?<![\w.-])(?:\d{4}([ -])\d{4}\1\d{4}\1\d{4}|3[47]\d{2}([ -])\d{6}\2\d{5}|\d{15,16})(?!\w|[.-]\w)")
_CARD_START = re.compile(r"4|5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)|3[47]|6(?:011|5)|35(?:2[89]|[3-8])")
_IBAN = re.compile(r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?![A-Za-z0-9])")
_SSN = re.compile(r"(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])")
_IDENTITY = re.compile(r"[A-Z0-9][A-Z0-9 ./-]{5,20}", re.IGNORECASE)

_EXACT_MARKS = (
    "AKIA", "ASIA", "eyJ", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat", "glpat-", "xox", "sk_live", "AIza",
    "npm_", "hvs.", "dop_v1", "-----BEGIN",
)  # fmt: skip
_NAME_MARKS = (
    "pass",
    "pwd",
    "pw:",
    "pw=",
    "pw :",
    "pw =",
    "kennwort",
    "secret",
    "key",
    "token",
    "sig",
    "authorization",
    ":thin:",
    ":oci",
)
"""A text has no shape of a credential without one of the exact marks, or a name and what joins it to a value."""


def luhn(digits: str) -> bool:
    """Is the last digit the check digit of the others (ISO/IEC 7812-1, annex B)?"""
    total = 0
    for place, char in enumerate(reversed(digits)):
        number = int(char)
        if place % 2:
            number = number * 2 - 9 if number > 4 else number * 2
        total += number
    return total % 10 == 0


def _is_iban(text: str) -> bool:
    """ISO 13616: the number made of it leaves 1 when divided by 97."""
    bare = text.replace(" ", "")
    if not 15 <= len(bare) <= 34:
        return False
    return int("".join(str(int(char, 36)) for char in bare[4:] + bare[:4])) % 97 == 1


def _is_card(text: str) -> bool:
    digits = re.sub(r"\D", "", text)
    return len(digits) in {15, 16} and _CARD_START.match(digits) is not None and len(set(digits)) > 1 and luhn(digits)


def _is_secret_value(value: str) -> bool:
    """Is something stated, and not only where it is kept or whether it is needed?"""
    return value.lower() not in _NO_SECRET and not _STATED_NOWHERE.match(value)


def _looks_random(value: str) -> bool:
    return len(value) >= 8 and not value.isalpha() and any(char.isalpha() for char in value)


# --- credentials ------------------------------------------------------------------------------------------------


def _by_header(header: _Header, text: str) -> str | None:
    """The kind of credential a whole cell is because of its column's name: whatever stands in a column of passwords is
    one, but for words that say nothing, masks, and names of where it is kept."""
    if header.credential is None:
        return None
    value = text.strip()
    if not value or value == SECRET or is_placeholder(value) or _KEPT_ELSEWHERE.fullmatch(value):
        return None
    if header.weak and (" " in value or not _is_secret_value(value) or not _looks_random(value)):
        return None
    return header.credential


def _masked_credentials(text: str, found: set[str]) -> str:
    """The text with its secrets replaced; their kinds are added to `found`."""

    def whole(kind: str) -> Callable[[re.Match[str]], str]:
        def replace(_: re.Match[str]) -> str:
            found.add(kind)
            return SECRET

        return replace

    def key_value(match: re.Match[str]) -> str:
        value, name = match["value"], match["name"].lower()
        is_password = any(word in name for word in ("pass", "pwd", "pw", "kennwort"))
        # `pass` alone may as well be that of a test or of a ticket
        certain = is_password and name != "pass"
        if not _is_secret_value(value) or (not certain and not _looks_random(value)):
            return match[0]
        if is_password:
            found.add("connection_string" if connects else "password")
        else:
            found.add("token" if "token" in name or name == "sig" else "access_key")
        return f"{match['name']}{match['between']}{match['quote']}{SECRET}"

    def url(match: re.Match[str]) -> str:
        if not _is_secret_value(match["value"]):
            return match[0]
        found.add("connection_string")
        return f"{match['start']}{SECRET}"

    def bearer(match: re.Match[str]) -> str:
        if not _looks_random(match["value"]):
            return match[0]
        found.add("token")
        return f"{match['start']}{SECRET}"

    connects = _CONNECTION_WORDS.search(text) is not None
    text = _PRIVATE_KEY.sub(whole("private_key"), text)
    text = _AWS_KEY.sub(whole("access_key"), text)
    text = _JWT.sub(whole("token"), text)
    text = _KNOWN_TOKEN.sub(whole("token"), text)
    text = _BEARER.sub(bearer, text)
    text = _URL.sub(url, text)
    text = _ORACLE.sub(url, text)
    return _KEY_VALUE.sub(key_value, text)


def without_credentials(column_name: str, cell: Cell) -> tuple[Cell, frozenset[str]]:
    """The cell with every credential in it replaced by `[secret]`, and the kinds that were found (`CREDENTIALS`)."""
    if cell is None or isinstance(cell, bool):
        return cell, frozenset()
    text = str(cell)
    kind = _by_header(_header(column_name), text)
    if kind is not None:
        return SECRET, frozenset({kind})
    if not isinstance(cell, str) or not _has_mark(text):
        return cell, frozenset()
    found: set[str] = set()
    return _masked_credentials(text, found), frozenset(found)


def _has_mark(text: str) -> bool:
    if "://" in text or any(mark in text for mark in _EXACT_MARKS):
        return True
    lower = text.lower()
    if "bearer" in lower:
        return True
    return ("=" in text or ":" in text) and any(mark in lower for mark in _NAME_MARKS)


def credentials(column_name: str, distinct: Sequence[Cell]) -> dict[int, tuple[Cell, frozenset[str]]]:
    """By place among the distinct cells: those that hold credentials, as `without_credentials` gives them."""
    texts = [cell for cell in distinct if type(cell) is str]
    if _header(column_name).credential is None and not _has_mark("\x00".join(texts)):
        return {}
    found = {}
    for code, cell in enumerate(distinct):
        masked_cell, kinds = without_credentials(column_name, cell)
        if kinds:
            found[code] = (masked_cell, kinds)
    return found


# --- personal data ----------------------------------------------------------------------------------------------


def _keep_end(text: str, keep: int) -> str:
    digits = [char for char in text if char.isdigit()]
    return "***" + "".join(digits[-keep:])


def _masked_personal(header: _Header, text: str, found: set[str]) -> str:
    def emails(match: re.Match[str]) -> str:
        found.add("email")
        return f"{match['user'][0]}***@{match['host']}"

    def cards(match: re.Match[str]) -> str:
        grouped = " " in match[0] or "-" in match[0]
        if not _is_card(match[0]) or (header.numbered and not grouped and not header.card):
            return match[0]
        found.add("credit_card")
        return _keep_end(match[0], 4)

    def ibans(match: re.Match[str]) -> str:
        if not _is_iban(match[0]):
            return match[0]
        found.add("bank_account")
        return f"{match[0][:2]}***"

    def phones(match: re.Match[str]) -> str:
        if not 8 <= sum(char.isdigit() for char in match[0]) <= 15:
            return match[0]
        found.add("phone")
        return _keep_end(match[0], 2)

    def ids(match: re.Match[str]) -> str:
        found.add("national_id")
        return "[national id]"

    value = text.strip()
    if header.national_id and _IDENTITY.fullmatch(value) and sum(char.isdigit() for char in value) >= 6:
        found.add("national_id")
        return "[national id]"
    if header.phone and _LOCAL_PHONE.fullmatch(value) and _is_phone(value):
        found.add("phone")
        return _keep_end(value, 2)
    if "@" in text:
        text = _EMAIL.sub(emails, text)
    if "+" in text:
        text = _PHONE.sub(phones, text)
    text = _IBAN.sub(ibans, text)
    if "-" in text and not (header.numbered or header.phone):
        text = _SSN.sub(ids, text)
    return _CARD.sub(cards, text)


def _is_phone(text: str) -> bool:
    if re.fullmatch(r"\d{1,3}(?:\.\d{1,3}){3}", text) or re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        return False
    return 7 <= sum(char.isdigit() for char in text) <= 20


_SHAPES = {ord(char): "0" for char in "0123456789"} | dict.fromkeys(range(ord("A"), ord("Z") + 1), "A")
_LONG_NUMBERS = (
    "000000000000000",
    "0000 0000 0000 0000",
    "0000-0000-0000-0000",
    "0000 000000 00000",
    "0000-000000-00000",
)


def _may_be_personal(header: _Header, texts: Sequence[str]) -> bool:
    """A cheap look at the whole column: False where no cell can hold personal data."""
    if header.phone or header.national_id:
        return True
    joined = "\x00".join(texts)
    if "@" in joined and _EMAIL.search(joined):
        return True
    shapes = joined.translate(_SHAPES)
    if "+0" in shapes and _PHONE.search(joined):
        return True
    if "000-00-0000" in shapes and not header.numbered and _SSN.search(joined):
        return True
    if any(shape in shapes for shape in _LONG_NUMBERS) and _CARD.search(joined):
        return True
    return "AA00" in shapes and max(map(len, texts)) >= 15 and _IBAN.search(joined) is not None


def personal_data(column_name: str, distinct: Sequence[Cell]) -> dict[str, list[int]]:
    """By kind (`PERSONAL`) the places among the distinct cells that hold personal data."""
    found: dict[str, list[int]] = defaultdict(list)
    header = _header(column_name)
    if _may_be_personal(header, [cell for cell in distinct if type(cell) is str]):
        for code, cell in enumerate(distinct):
            if cell is None or isinstance(cell, bool | float):
                continue
            kinds: set[str] = set()
            _masked_personal(header, str(cell), kinds)
            for kind in kinds:
                found[kind].append(code)
    return dict(found)


# --- both -------------------------------------------------------------------------------------------------------


def flags(column_name: str, distinct: Sequence[Cell]) -> list[Flag]:
    """What a column holds of credentials and personal data, kind by kind in the order of `CREDENTIALS`, `PERSONAL`."""
    found: dict[str, list[int]] = defaultdict(list)
    for code, (_, kinds) in credentials(column_name, distinct).items():
        for kind in kinds:
            found[kind].append(code)
    found.update(personal_data(column_name, distinct))
    return [Flag(kind, len(found[kind]), array("I", found[kind])) for kind in (*CREDENTIALS, *PERSONAL) if found[kind]]


def masked(column_name: str, cell: Cell) -> Cell:
    """The cell as it may be shown: `a***@corp.example`, `Server=db1;Password=[secret]`; unchanged when it holds
    neither credentials nor personal data."""
    shown, _ = without_credentials(column_name, cell)
    if shown is None or shown == SECRET or isinstance(shown, bool | float):
        return shown
    text = str(shown)
    personal = _masked_personal(_header(column_name), text, set())
    return personal if personal != text else shown
