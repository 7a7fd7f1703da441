"""Issues as they are raised: each sort one by one up to a limit, then how many more."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import UUID

from estate.issues import issue

MAX_ISSUES = 2_000
"""So many issues of one kind about one field are listed one by one."""


class Told:
    """Collects issues."""

    def __init__(self, namespace: UUID) -> None:
        self.namespace = namespace
        self.issues: list[dict[str, Any]] = []
        self._counted: Counter[tuple[str, str | None]] = Counter()
        self._severities: dict[tuple[str, str | None], str] = {}

    def add(
        self,
        kind: str,
        severity: str,
        message: str,
        *,
        asset_id: str | None = None,
        field: str | None = None,
        source: dict[str, Any] | None = None,
    ) -> None:
        """One issue."""
        sort = (kind, field.partition(".")[0] if field else None)
        self._counted[sort] += 1
        if self._counted[sort] <= MAX_ISSUES:
            self.issues.append(
                issue(self.namespace, kind, severity, message, asset_id=asset_id, field=field, source=source)
            )
        else:
            self._severities.setdefault(sort, severity)

    def close(self) -> list[dict[str, Any]]:
        """All issues, with one for those of each sort that are not listed."""
        for (kind, field), severity in self._severities.items():
            count = self._counted[kind, field]
            about = f" about {field}" if field else ""
            self.issues.append(
                issue(
                    self.namespace,
                    kind,
                    severity,
                    f"{count - MAX_ISSUES:,} more issues of the kind {kind}{about} are not listed one by one;"
                    f" there are {count:,} in all.",
                    field=field,
                )
            )
        return self.issues
