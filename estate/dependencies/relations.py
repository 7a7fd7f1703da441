"""What the words for a relation mean: who needs whom, and of what kind the relation is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation as it is understood."""

    phrase: str
    """The relation read from the source end: `depends on`, `runs on`, ..."""
    turned: bool = False
    """It was said from the other end (`used by`): target and source change places."""
    meaning: str = "needs"
    """`needs, runs_on, contains, database, load_balancing` or a service that is set apart (`monitoring`, ...)."""

    @property
    def set_apart(self) -> str | None:
        """Why such a relation does not tie two machines together."""
        return f"relation {self.phrase}: {self.meaning}" if self.meaning in _SERVICES else None


_SERVICES = frozenset({"management", "monitoring", "backup", "antivirus", "location"})

# (meaning, how it is said, the same said from the source, the same said from the target)
_WORDS: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...]], ...] = (
    (
        "needs",
        "depends on",
        (
            "depends on", "depend on", "depends", "dependency", "dependent on", "requires", "needs", "southbound", "relies on",
            "supported by", "served by", "impacted by", "hängt ab von",
        ),
        (
            "used by", "required by", "northbound", "depended on by", "needed by", "supports", "serves", "impacts",
            "dependency of", "dependency for",
        ),
    ),
    ("needs", "uses", ("uses", "use", "consumes", "calls", "invokes", "subscribes to", "reads from", "accesses"),
     ("consumed by", "called by", "invoked by", "accessed by", "provides", "subscribed to by")),
    ("needs", "connects to", ("connects to", "connects", "connected to", "talks to", "communicates with"),
     ("connected by",)),
    ("needs", "sends data to", ("sends data to", "sends to", "writes to", "feeds", "applicative flow to", "publishes to",
                                "exchanges data with", "replicates to"),
     ("receives data from", "receives from", "fed by", "applicative flow from", "replicated from")),
    ("runs_on", "runs on", ("runs on", "hosted on", "hosted by", "virtualized by", "virtualised by", "instantiated by",
                            "deployed on", "deployed to", "installed on", "located on", "implemented by", "läuft auf"),
     ("runs", "hosts", "virtualizes", "virtualises", "instantiates", "has installed", "implements")),
    ("contains", "contains", ("contains", "members", "has member", "cluster of", "owns", "consists of", "composed of"),
     ("contained by", "contained in", "member of", "members of", "cluster member", "belongs to", "part of",
      "owned by", "component of")),
    ("database", "uses database", ("uses database", "database", "database link", "db link", "linked server",
                                   "stores data in", "uses db", "data source"),
     ("database of", "database for", "stores data of")),
    ("load_balancing", "balances", ("balances", "load balances", "load balancer for", "pool member", "balances to",
                                    "forwards to", "load balancer of"),
     ("balanced by", "load balanced by", "member of pool", "fronted by")),
    ("management", "managed by", ("managed by", "administered by", "administrated by", "patched by", "configured by",
                                  "authenticated by"),
     ("manages", "administers", "patches", "configures", "authenticates")),
    ("monitoring", "monitored by", ("monitored by", "scanned by", "logs to"), ("monitors", "scans")),
    ("backup", "backed up by", ("backed up by", "backup by", "backup to", "backs up to"),
     ("backs up", "backup of", "backup for")),
    ("antivirus", "protected by", ("protected by", "secured by"), ("protects", "secures")),
    ("location", "located in", ("located in", "in rack", "rack", "located at", "zone", "powered by"),
     ("location of", "houses", "powers")),
)  # fmt: skip
_KNOWN: dict[str, Relation] = {
    said: Relation(phrase, turned, meaning)
    for meaning, phrase, forward, backward in _WORDS
    for turned, phrases in ((False, forward), (True, backward))
    for said in phrases
}
DEPENDS_ON = _KNOWN["depends on"]
USES_DATABASE = _KNOWN["uses database"]
RUNS_ON = _KNOWN["runs on"]
BALANCES = _KNOWN["balances"]


@lru_cache(maxsize=4096)
def understand(text: str) -> Relation:
    """A relation by its words; of `Depends on::Used by` (parent::child) the first half is said from the source.

    Words that are not known keep their wording and mean that the source needs the target.
    """
    said = re.sub(r"[\s_-]+", " ", text.split("::", 1)[0]).strip(" .:>").lower()
    plain = re.sub(r"^(is|are) ", "", said)
    known = _KNOWN.get(plain)
    if known is not None:
        return known
    return Relation(said)
