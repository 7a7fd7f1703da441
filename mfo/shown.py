"""What a discovery did and found, told on a terminal: phase by phase, with the figures, the reasons and some examples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console

from domain.words import counted
from mfo.commands.imports import read_as
from mfo.commands.output import facts, plain, short, table
from mfo.commands.reports import difference

Json = dict[str, Any]

SEVERITIES = ("critical", "high", "medium", "low", "info")
SHOWN = 8
EXAMPLES = 2
TABLES, MAPPINGS = 24, 20
WIDE = 100
SIZES = {"cpu_cores": "cores", "memory_gb": "GiB of memory", "storage_gb": "GiB of storage"}


# parts of the evidence that a finding's message tells
SAID = ("state", "product", "version", "end_of_support", "extended_end", "extended_kind", "reference_date")


@dataclass(slots=True)
class Found:
    """What the service says of one discovery: the flow with the outputs of its phases, the previews, the lists."""

    flow: Json
    previews: list[Json]
    assets: list[Json]
    dependencies: list[Json]
    issues: list[Json]

    def outputs(self, phase: str) -> Json:
        """What a phase handed over; empty where it did not."""
        return next((dict(each["outputs"] or {}) for each in self.flow["phases"] if each["name"] == phase), {})


class Shown:
    """Tells on a console."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def head(self, text: str) -> None:
        """A heading."""
        self.console.print(f"\n{text}", style="bold", markup=False, highlight=False, soft_wrap=True)

    def lines(self, *lines: str) -> None:
        """Lines as they are; blank ones too."""
        for line in lines:
            self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def all_of(self, found: Found) -> None:
        """Phase by phase."""
        self.imported(found)
        self.mapped(found)
        self.cleansed(found)
        self.inventory(found)
        self.dependencies(found)
        self.findings(found)
        self.doubts(found)
        self.changed(found)

    def imported(self, found: Found) -> None:
        """What every sheet was taken for and how it was read, and what was set aside."""
        out = found.outputs("data_import")
        self.head(f"Import: {out.get('message')}")
        sheets = [(file, one) for file in _list(out.get("files")) for one in file["tables"]]
        sheets.sort(key=lambda pair: pair[1]["role"] == "ignored")
        rows = [
            [
                f"{file['filename']}, {one['sheet']}" if one["sheet"] else file["filename"],
                one["kind"],
                one["role"],
                one["rows"],
                one["set_aside"],
                read_as(one["read_as"], file.get("encoding")),
            ]
            for file, one in sheets[:TABLES]
        ]
        self.lines(table(["file, sheet", "recognised as", "rows are", "rows", "set aside", "read as"], rows))
        self._more(len(sheets), TABLES, "sheets")
        self._aside(out, found.previews)
        warnings = [warning["message"] for preview in found.previews for warning in preview.get("warnings") or []]
        if warnings:
            self._examples(counted(len(warnings), "warning of the readers", "warnings of the readers"), warnings, SHOWN)

    def _aside(self, out: Json, previews: Sequence[Json]) -> None:
        """Rows that are no data: how many, and where and why, those of one reason together."""
        reasons = out.get("set_aside_by_reason") or {}
        if not reasons:
            return
        places: dict[tuple[str, str], list[str]] = {}
        for preview in previews:
            for sheet, rows in (preview.get("set_aside") or {}).items():
                for row in rows:
                    places.setdefault((sheet, row["message"]), []).append(str(row["row"]))
        told = [f"{sheet}, row {_few(rows)}: {message}" for (sheet, message), rows in places.items()]
        self._examples(f"set aside: {_told(reasons)}", told, SHOWN)

    def mapped(self, found: Found) -> None:
        """Which column means what: those that were converted or are least sure first."""
        out = found.outputs("field_mapping")
        self.head(f"Mapping: {out.get('message')}")
        mapped = _list(out.get("mapped"))
        ordered = sorted(mapped, key=lambda one: (not one.get("conversion"), one["confidence"]))
        rows = [
            [
                _where(one["source_file"], one["source_sheet"], one["source_field"]),
                one["target_field"],
                f"{one['confidence']:.2f} {one['match_type']}",
                one.get("conversion") or one.get("unit") or "",
                one.get("reason") or "",
            ]
            for one in ordered[:MAPPINGS]
        ]
        self.lines(table(["column", "means", "how sure", "unit or conversion", "why"], rows))
        self._more(int(out.get("mapped_columns") or 0), MAPPINGS, "columns")
        told = _list(out.get("incomplete"))
        self._examples(
            counted(len(told), "wanted field that no column tells", "wanted fields that no column tells"),
            told,
            2 * SHOWN,
        )

    def cleansed(self, found: Found) -> None:
        """What was changed by which rule, what was rejected and why, and the quality by dimension."""
        out = found.outputs("data_cleansing")
        self.head(f"Cleansing: {out.get('message')}")
        self._facts(
            {
                "changed, by rule": _most(out.get("by_rule") or {}),
                "rejected, by reason": _most(out.get("by_reason") or {}),
            }
        )
        quality = out.get("quality") or {}
        dimensions = quality.get("dimensions") or {}
        if not dimensions:
            return
        overall = quality.get("overall")
        self.lines("", f"quality: {'unknown' if overall is None else f'{overall} of 100'} = {quality.get('formula')}")
        ordered = sorted(dimensions.items(), key=lambda item: -item[1]["weight"])
        rows = [
            [
                name,
                "-" if one["score"] is None else one["score"],
                f"{plain(one['numerator'])} / {plain(one['denominator'])}",
            ]
            for name, one in ordered
        ]
        self.lines(table(["dimension", "score", "figures"], rows))
        for name, one in ordered:
            worst = next((_spot(spot) for spot in one.get("worst_rows") or one.get("worst_columns") or []), None)
            self.lines(f"  {name}: {one.get('note') or one['formula']}" + (f"; worst: {worst}" if worst else ""))

    def inventory(self, found: Found) -> None:
        """The assets by type and environment, what was matched, what disagrees, what a person should look at."""
        out, assets = found.outputs("asset_inventory"), found.assets
        self.head(f"Inventory: {counted(len(assets), 'asset')}")
        self.lines(str(out.get("message")))
        environments = _ranked(asset["environment"] for asset in assets)
        both = Counter((asset["asset_type"], asset["environment"]) for asset in assets)
        of_type = [
            (kind or "unknown", [asset for asset in assets if asset["asset_type"] == kind])
            for kind, _ in _ranked(asset["asset_type"] for asset in assets)
        ]
        rows = [
            [kind, *(both[kind, environment] or "" for environment, _ in environments), len(some), *_sums(some)]
            for kind, some in of_type
        ]
        moving = [asset for asset in _machines(assets) if asset["migratable"]]
        staying: dict[str, list[Json]] = {}
        for asset in _machines(assets):
            if not asset["migratable"]:
                staying.setdefault(str(asset["classification"].get("not_migratable")), []).append(asset)
        # the machines on a host use its cores and memory, which a sum over both would count twice
        rows.append(
            [
                "total",
                *(count for _, count in environments),
                len(assets),
                *([""] * len(SIZES) if staying else _sums(assets)),
            ]
        )
        if staying:
            there = Counter(asset["environment"] for asset in moving)
            rows.append(
                ["of them to be moved", *(there[one] or "" for one, _ in environments), len(moving), *_sums(moving)]
            )
        named = [environment or "unknown" for environment, _ in environments]
        sizes = SIZES.values() if any(_machines(assets)) else ()
        self._facts(
            {
                "to be moved": _moved(moving),
                **{f"not moved, because {why}": _moved(some) for why, some in staying.items()},
            },
            apart=True,
        )
        self.lines(
            "",
            table(
                ["type, by environment", *named, "total", *sizes], [row[: len(named) + 2 + len(sizes)] for row in rows]
            ),
        )
        machines = _machines(assets)
        self._facts(
            {
                "operating systems": _counts(_system(asset) or "unknown" for asset in machines) if machines else None,
                "matched by": _most(out.get("matches") or {}),
            },
            apart=True,
        )
        self._examples("matches", [f"{a['name']}: {one}" for a in assets for one in a.get("matched_by") or []])
        self._conflicts(assets)
        reviews = _list(out.get("first_reviews"))
        self._examples(
            f"{counted(int(out.get('reviews_total') or 0), 'doubtful match', 'doubtful matches')}, kept apart for a person to settle",
            [f"{' / '.join(one['names'])} ({plain(one['confidence'])}): {one['reason']}" for one in reviews],
        )

    def _conflicts(self, assets: Sequence[Json]) -> None:
        conflicts = [(asset, one) for asset in assets for one in asset.get("conflicts") or []]
        if not conflicts:
            return
        # one example of each field before the second of any
        seen: Counter[str] = Counter()
        order = []
        for at, (_, one) in enumerate(conflicts):
            order.append((seen[one["field"]], at))
            seen[one["field"]] += 1
        told = [
            f"{asset['name']} {one['field']}: "
            + " | ".join(
                f"{plain(each['value'])} ({_place(next(iter(each['sources']), None))})" for each in one["values"]
            )
            + f" -> {plain(one['chosen'])}, {one.get('why') or ''}"
            for asset, one in (conflicts[at] for _, at in sorted(order))
        ]
        fields = _counts(one["field"] for _, one in conflicts)
        self._examples(f"{counted(len(conflicts), 'conflict')}, by field: {fields}", told)

    def dependencies(self, found: Found) -> None:
        """Who talks to whom, what is noise and why, what goes round in circles and what moves together."""
        out, edges = found.outputs("dependency_analysis"), found.dependencies
        self.head(f"Dependencies: {len(edges)}")
        self.lines(str(out.get("message")))
        if not edges:
            return
        noise, counts = out.get("noise") or {}, int(out.get("without_noise") or 0)
        unknown, outside, alone = (
            int(out.get(name) or 0) for name in ("unknown_endpoints", "outside", "assets_without_dependencies")
        )
        moving, observed = int(out.get("groups") or 0), counted(int(noise.get("observations") or 0), "row")
        together = (
            f"{moving}, the largest of {counted(int(out.get('largest_group') or 0), 'asset')}" if moving else "none"
        )
        self._facts(
            {
                "that count": f"{counts}, by kind: {_counts(e.get('kind') for e in edges if not e['noise'])}"
                if counts
                else 0,
                "noise, set apart": f"{noise['total']} ({observed}): {_most(noise['by_reason'])}"
                if noise.get("total")
                else 0,
                "with an end that no file lists": f"{unknown}, {outside} of them an address of the internet"
                if unknown
                else 0,
                "direction known": _counts(edge.get("direction") for edge in edges),
                "circles": out.get("cycles"),
                "move groups": f"{together}; {counted(alone, 'asset')} without dependencies that count",
            }
        )
        groups = _list(out.get("largest_groups"))
        if groups:
            rows = [
                [one["size"], one["edges"], len(one["cycles"]), _few(one["applications"]), _few(one["names"])]
                for one in groups
            ]
            self.lines("", table(["size", "edges", "circles", "applications", "largest move groups"], rows))
        loose = [edge for edge in edges if edge.get("unknown_endpoint") and not edge["noise"]]
        self._examples("dependencies with an end that no file lists", [_edge(edge) for edge in loose])
        circle = next((names for one in groups for names in one["cycles"]), None)
        if circle:
            self.lines(f"  a circle: {' -> '.join([*circle, circle[0]])}")

    def findings(self, found: Found) -> None:
        """What is out of support, by severity and product, and which machines are too large or too small."""
        out = found.outputs("tech_debt_assessment")
        listed = [issue for issue in found.issues if issue.get("finding_id")]
        severities, score = out.get("by_severity") or {}, out.get("score")
        total = int(out.get("findings_total") or 0)
        self.head(f"Technical debt: {counted(total, 'finding')}, as of {out.get('reference_date')}")
        self._facts(
            {
                "by severity": _told({word: severities[word] for word in SEVERITIES if word in severities}),
                "by kind": _most(out.get("by_kind") or {}),
                "debt, 0 none to 100 worst": f"{plain(score)}, the mean over {counted(int(out.get('assets_scored') or 0), 'asset')}"
                if score is not None
                else None,
                "how it is counted": out.get("formula") if score is not None else None,
                "support of systems": _most(out.get("support") or {}),
            }
        )
        states = ("ended", "extended", "ending")
        rows = [
            [name, *(one.get(state, "") for state in states)] for name, one in (out.get("by_product") or {}).items()
        ]
        if rows:
            self.lines("", table(["product", "support ended", "extended support", "ends soon"], rows[:SHOWN]))
            self._more(len(rows), SHOWN, "products")
        sizing = out.get("sizing") or {}
        if sizing.get("measured"):
            self.lines("", facts({"sizing": _pairs(sizing, skip=("formula",)), "formula": sizing.get("formula")}))
        alike: dict[tuple[Any, ...], list[Json]] = {}
        for one in listed:
            evidence = one.get("evidence") or {}
            key = (SEVERITIES.index(one["severity"]), one["kind"], evidence.get("product"), evidence.get("version"))
            alike.setdefault(key, []).append(one)
        told = [
            f"{len(some)} {some[0]['severity']} {some[0]['kind']}: {some[0]['message']} {some[0].get('remedy') or ''}".rstrip()
            + f" [{'; '.join(filter(None, (_evidence(some[0].get('evidence')), _place(some[0].get('source')))))}]"
            for _, some in sorted(alike.items(), key=lambda each: (each[0][0], -len(each[1])))
        ]
        if told:
            self.lines(
                "",
                "findings, those that are alike together, one of them as an example:",
                *(f"  {one}" for one in told[: 2 * SHOWN]),
            )
            self._more(len(told), 2 * SHOWN, "such lines, of other products and kinds")
        worst = _list(out.get("worst"))[:SHOWN]
        if worst:
            named = ", ".join(f"{one['name']} {plain(one['score'])}" for one in worst)
            self.lines("", f"most debt: {named}")

    def doubts(self, found: Found) -> None:
        """The issues that are no findings: what is wrong with the data, and where."""
        doubts = [issue for issue in found.issues if not issue.get("finding_id")]
        findings = len(found.issues) - len(doubts)
        both = f", {len(found.issues)} issues with the {counted(findings, 'finding')} above" if findings else ""
        self.head(f"{counted(len(doubts), 'data-quality issue')}{both}")
        rows, examples = [], []
        for kind, count in _ranked(issue["kind"] for issue in doubts):
            of_kind = [issue for issue in doubts if issue["kind"] == kind]
            rows.append([count, kind, _counts(issue["severity"] for issue in of_kind)])
            placed = [issue for issue in of_kind if issue.get("source")] or of_kind
            examples += [
                f"{kind}: {short(issue['message'], 240)} [{_place(issue.get('source')) or 'no single row'}]"
                for issue in placed[:EXAMPLES]
            ]
        if rows:
            self.lines(table(["count", "kind", "severity"], rows), "", *examples[: 3 * SHOWN])

    def changed(self, found: Found) -> None:
        """What is new, gone and changed since an earlier discovery, where there was one."""
        out = found.outputs("asset_inventory")
        changed = out.get("changed")
        if not changed:
            return
        number = changed.get("against_round")
        self.head(f"Since round {number}" if number else f"Since the discovery {changed['against']}")
        kinds = ("before", "after", "new", "gone", "changed", "renamed", "unchanged", "by_field", "matched_by")
        told = {kind.replace("_", " "): changed.get(kind) for kind in kinds}
        self.lines(facts({kind: _most(one) if isinstance(one, dict) else one for kind, one in told.items()}))
        first = [
            f"{one['kind']}: {one['name']} {difference(one) or ''}".rstrip() for one in _list(out.get("first_changes"))
        ]
        self._examples("changes", first, SHOWN)

    def _facts(self, pairs: Mapping[str, Any], *, apart: bool = False) -> None:
        if told := facts(pairs):
            self.lines(*([""] if apart else []), told)

    def _examples(self, what: str, examples: Sequence[str], most: int = EXAMPLES + 1) -> None:
        if examples:
            such = "such as" if len(examples) > most else ""
            self.lines("", f"{what}{', ' if such else ''}{such}:", *(f"  {short(one, 240)}" for one in examples[:most]))

    def _more(self, total: int, shown: int, what: str) -> None:
        if total > shown:
            self.lines(f"and {total - shown} more {what}")


def suggestions(status: Json, say: Callable[[str], None]) -> None:
    """What a flow that waits for mappings asks: the columns with samples and what they may mean, the least sure first."""
    asked = sorted(status.get("mapping_suggestions") or [], key=lambda one: one["confidence"])
    for one in asked[:MAPPINGS]:
        samples = ", ".join(str(sample) for sample in one["samples"][:3])
        unit = f" in {one['unit']}" if one["unit"] else ""
        others = ", ".join(str(each["target_field"]) for each in one.get("alternatives") or [])
        say(
            f"  {_where(one['source_file'], one['source_sheet'], one['source_field'])} ->"
            f" {one['target_field'] or '?'}{unit} (confidence {one['confidence']:g};"
            f" {short(samples, WIDE) or 'no values'}; {one.get('reason') or ''})" + (f"; or {others}" if others else "")
        )


def _list(value: Any) -> list[Any]:
    """A list of an output; one that was too large for the event is an artifact, and told as empty."""
    return value if isinstance(value, list) else []


def _where(file: str, sheet: str | None, field: str | None = None) -> str:
    return ", ".join(part for part in (sheet or file, field) if part)


def _spot(worst: Json) -> str:
    place = f"row {worst['row']}" if worst.get("row") else f"column {worst.get('column')}"
    return f"{_where(worst['file'], worst.get('sheet'))} {place}: {worst['why']}"


def _machines(assets: Sequence[Json]) -> list[Json]:
    return [asset for asset in assets if asset["asset_type"] != "application"]


def _sums(assets: Sequence[Json]) -> list[str]:
    """Cores, memory and storage of these assets together, as cells: `unknown`, or with how many of them it is known of."""
    machines = _machines(assets)
    if not machines:
        return [""] * len(SIZES)
    return [" ".join(filter(None, _sum(machines, name))) for name in SIZES]


def _sum(machines: Sequence[Json], name: str) -> tuple[str, str]:
    """The sum of what is known, `unknown` where nothing is; and in brackets of how many it is known, where not of all."""
    known = [asset[name] for asset in machines if asset[name] is not None]
    if not known:
        return "unknown", ""
    partly = f"(known of {len(known)} of {len(machines)})" if len(known) < len(machines) else ""
    return plain(round(float(sum(known)), 2)), partly


def _moved(machines: Sequence[Json]) -> str | None:
    if not machines:
        return None
    sizes = []
    for name, unit in SIZES.items():
        told, partly = _sum(machines, name)
        text = f"{unit.rpartition(' ')[2]} unknown" if told == "unknown" else f"{told} {unit}"
        sizes.append(f"{text} {partly}".rstrip())
    return f"{counted(len(machines), 'machine')}: {', '.join(sizes)}"


def _edge(edge: Json) -> str:
    port = " ".join(str(edge[part]) for part in ("protocol", "port") if edge.get(part))
    return f"{edge['source_name']} -> {edge['target_name']}{f' {port}' if port else ''} [{_place(edge.get('source'))}]"


def _few(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _ranked(values: Iterable[Any]) -> list[tuple[Any, int]]:
    return Counter(values).most_common()


def _counts(values: Iterable[Any]) -> str:
    ranked = _ranked(values)
    rest = ranked[SHOWN:]
    more = {f"of {len(rest)} other kinds": sum(count for _, count in rest)} if rest else {}
    return _told(dict(ranked[:SHOWN]) | more) or "none"


def _most(counts: Mapping[Any, int]) -> str:
    return _told(dict(Counter(counts).most_common(SHOWN)))


def _told(counts: Mapping[Any, int]) -> str:
    return ", ".join(f"{count} {name or 'unknown'}" for name, count in counts.items())


def _pairs(values: Mapping[str, Any], skip: Sequence[str] = ()) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {_pairs(value) if isinstance(value, Mapping) else value}"
        for name, value in values.items()
        if name not in skip and value is not None
    )


def _system(asset: Json) -> str | None:
    return " ".join(filter(None, (asset["operating_system"], asset["os_version"]))) or None


def _evidence(evidence: Mapping[str, Any] | None) -> str:
    """What a finding rests on, without what its message says."""
    told = {name: value for name, value in (evidence or {}).items() if name not in SAID and value is not None}
    return ", ".join(f"{name.replace('_', ' ')} {plain(value)}" for name, value in told.items())


def _place(source: Mapping[str, Any] | None) -> str:
    if not source:
        return ""
    parts = [
        str(source.get("file") or ""),
        str(source.get("sheet") or ""),
        f"row {source['row']}" if source.get("row") else "",
    ]
    return ", ".join(filter(None, parts))
