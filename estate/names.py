"""The key under which a machine's name is looked up, however it is written."""

from __future__ import annotations

from estate.vocabulary import parse_ip, split_fqdn


def canonical(name: str) -> tuple[str, str | None]:
    """The key of a machine name, and its domain: `WEB01.corp.local` -> (`web01`, `corp.local`)."""
    text = " ".join(name.split())
    # an address begins with a digit or has colons
    if not (":" in text or text[:1].isdigit()) or parse_ip(text) is None:
        parts = split_fqdn(text)
        if parts is not None:
            return parts[0].lower(), parts[1].lower()
    return text.lower(), None
