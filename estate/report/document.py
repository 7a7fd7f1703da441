"""The report as one page that needs nothing from outside and runs nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import IO, Any

from estate.inventory.figures import Size
from estate.report import charts
from estate.report.cells import as_text
from estate.report.columns import place
from estate.report.data import ReportData
from estate.report.doubts import changes, quality, reviews
from estate.report.figures import AssetFigures, Figures, Row, Tally, figures
from estate.report.page import HEAD, STYLE, Figure, Html, Page, figure, link, mask
from estate.report.sections import conflicts, debt, dependencies, issues, sizing, unread

TITLES = {
    "asset_type": "Type",
    "environment": "Environment",
    "operating_system": "Operating system",
    "power_state": "Power",
    "location": "Site",
    "criticality": "Criticality",
}
SIZE_TITLES = {"cpu_cores": "Cores", "memory_gb": "Memory (GiB)", "storage_gb": "Storage (GiB)"}
MOST_VALUES = 15

Section = Callable[[Page, ReportData, Figures], None]


def write_html(data: ReportData, out: IO[str], *, personal: bool = True) -> None:
    """Write the report; with `personal` e-mail addresses and telephone numbers are masked.

    No script, no font, no picture comes from outside. Every text of the estate is escaped, and signs that cannot be
    seen or that turn text around are written out.
    """
    page = Page(out, mask(personal))
    found = figures(data)
    page.write(HEAD)
    page.write(f"<title>{page.text(_title(data))}</title>\n{STYLE}</head><body>\n")
    _head(page, data)
    sections: Sequence[tuple[str, str, Section]] = (
        ("overview", "Overview", _overview),
        ("files", "Files read", _files),
        ("assets", "Assets", _assets),
        ("sizes", "Cores, memory, storage", _sizes),
        ("quality", "Data quality", quality),
        ("conflicts", "Sources that disagree", conflicts),
        ("reviews", "Doubtful matches to look at", reviews),
        ("dependencies", "Dependencies", dependencies),
        ("debt", "Technical debt", debt),
        ("sizing", "Right-sizing", sizing),
        ("issues", "Issues to put to the owners", issues),
        ("changes", "Changes since the former discovery", changes),
        ("unread", "What could not be read", unread),
        ("rows", "The rows behind the figures", _rows),
    )
    page.write("<nav aria-label='Contents'><ol>")
    page.write("".join(f"<li>{link(anchor, title)}</li>" for anchor, title, _ in sections))
    page.write("</ol></nav>\n<main>\n")
    for anchor, title, section in sections:
        page.write("<section>")
        page.heading(anchor, title)
        section(page, data, found)
        page.write("</section>\n")
    page.write("</main></body></html>\n")


def _title(data: ReportData) -> str:
    return f"Discovery: {data.flow.get('flow_name') or data.flow.get('flow_id') or 'estate'}"


def _head(page: Page, data: ReportData) -> None:
    flow = data.flow
    page.write(f"<header><h1>{page.text(_title(data))}</h1>\n")
    page.facts(
        {
            name: value
            for name, value in {
                "Flow": flow.get("flow_id"),
                "Engagement": flow.get("engagement_id"),
                "Begun": flow.get("created_at"),
                "Inventory made": _completed(data, "asset_inventory"),
                "Support assessed as of": data.of("tech_debt_assessment").get("reference_date"),
                "Report made": data.made_at,
            }.items()
            if value
        }
    )
    page.write("</header>\n")


def _completed(data: ReportData, phase: str) -> Any:
    return ((data.flow.get("phases") or {}).get(phase) or {}).get("completed_at")


def _overview(page: Page, data: ReportData, found: Figures) -> None:
    assets, edges = found.assets, found.edges
    cards: list[tuple[str, str, str, str]] = [("assets", charts.number(assets.total), "assets", "")]
    for name, size in assets.to_move.items():
        known = f"known of {charts.number(size.known)}, unknown of {charts.number(size.unknown)}"
        title = f"{SIZE_TITLES[name]} to be moved"
        cards.append(("sizes", charts.number(_round(size.total)) if size.known else "–", title, known))
    cards.append(("conflicts", charts.number(assets.with_conflicts), "assets with conflicting values", ""))
    if data.has("dependencies"):
        noise = f"and {charts.number(edges.noise.total)} of noise"
        cards.append(("dependencies", charts.number(edges.kept), "dependencies", noise))
    if data.has("findings"):
        severe = sum(found.debt.by_severity.counts[word] for word in ("critical", "high"))
        cards.append(("debt", charts.number(found.debt.total), "findings", f"{charts.number(severe)} critical or high"))
    issues = found.issues
    listed = charts.number(issues.total + issues.findings)
    note = f"with the findings {listed}, as in the API and as csv" if issues.findings else ""
    cards.append(("issues", charts.number(issues.total), "issues for the owners", note))
    page.write('<div class="cards">')
    for anchor, value, name, note in cards:
        page.write(f'<div class="card"><a href="#{anchor}"><b>{page.text(value)}</b>{page.text(name)}</a>')
        page.write(f"<span>{page.text(note)}</span></div>" if note else "</div>")
    page.write("</div>\n")
    if assets.not_moved:
        page.paragraph("Not in what is to be moved: ", _stays(page, assets), ".", style="note")
    said = [(phase, outputs["message"]) for phase, outputs in data.outputs.items() if outputs.get("message")]
    page.table(
        ["Phase", "What it says"],
        [(phase.replace("_", " "), message) for phase, message in said],
        names=["phase", "message"],
    )


def _files(page: Page, data: ReportData, _: Figures) -> None:
    read = data.of("data_import")
    page.table(
        ["File", "Format", "Recognised as", "Sheets", "Rows used", "Bytes", "SHA-256"],
        [
            (
                one.get("filename"),
                one.get("format"),
                one.get("recognised_as"),
                one.get("sheets"),
                one.get("rows"),
                one.get("size_bytes"),
                one.get("sha256"),
            )
            for one in read.get("files") or ()
        ],
    )
    tables = list(data.tables())
    if not tables:
        return
    page.heading("tables", "Tables in them", 3)
    page.table(
        ["File", "Sheet", "Taken for", "Holds", "Rows", "Set apart", "Read as"],
        [
            (
                one.get("file"),
                one.get("sheet"),
                one.get("kind"),
                one.get("role"),
                one.get("rows"),
                one.get("set_aside"),
                _read_as(one.get("read_as")),
            )
            for one in tables[:200]
        ],
    )
    page.rest(min(len(tables), 200), len(tables), "Summary")


def _read_as(told: Any) -> str | None:
    if not isinstance(told, dict):
        return None
    words = {name.replace("_", " "): value for name, value in told.items() if value not in (None, "", [], {})}
    return "; ".join(f"{name}: {as_text(value)}" for name, value in words.items()) or None


def _assets(page: Page, _: ReportData, found: Figures) -> None:
    assets = found.assets
    page.paragraph(
        f"{charts.number(assets.total)} assets; every figure leads to the first rows behind it, all of them are in the"
        " sheet Assets of the workbook, which can be filtered by the same column."
    )
    page.chart(
        charts.stacked(
            "c-type",
            "Assets by type and environment",
            {
                page.shown(kind, "asset_type"): {
                    page.shown(environment, "environment"): assets.type_by_environment[kind][environment]
                    for environment in assets.by["environment"].most(MOST_VALUES)
                    if assets.type_by_environment[kind][environment]
                }
                for kind in assets.by["asset_type"].most(MOST_VALUES)
            },
        )
    )
    power = {page.shown(state, "power_state"): count for state, count in assets.by["power_state"].most().items()}
    page.chart(charts.donut("c-power", "Assets by power state", power, middle="assets"))
    shown = [
        (page.shown(name, "operating_system"), n) for name, n in assets.by["operating_system"].most(MOST_VALUES).items()
    ]
    systems = dict(shown) if assets.by["operating_system"].is_known else {}
    links = {name: f"rows-operating_system-{at}" for at, (name, _) in enumerate(shown)}
    page.chart(charts.bars("c-os", "Assets by operating system", systems, links=links))
    page.write('<div class="facets">')
    for facet, tally in assets.by.items():
        _facet(page, facet, tally)
    page.write("</div>\n")
    if assets.not_migratable.total:
        page.heading("not-migratable", "Not to be moved as machines", 3)
        page.paragraph(
            f"{charts.number(assets.not_migratable.total)} assets: "
            + ", ".join(
                f"{page.shown(reason)} {charts.number(count)}"
                for reason, count in assets.not_migratable.most(MOST_VALUES).items()
            )
            + " (column migratable of the sheet Assets)."
        )


def _facet(page: Page, facet: str, tally: Tally) -> None:
    if not tally.is_known:
        page.paragraph(f"{TITLES[facet]}: not known of any asset.", style="note")
        return
    shown = tally.most(MOST_VALUES)
    rows: list[tuple[Any, ...]] = [
        (value, figure(f"rows-{facet}-{at}", count), _percent(count / tally.total))
        for at, (value, count) in enumerate(shown.items())
    ]
    left = tally.total - sum(shown.values())
    if left:
        rows.append((f"{len(tally.counts) - len(shown)} others", left, _percent(left / tally.total)))
    page.table([TITLES[facet], "Assets", "Share"], rows, anchor=f"by-{facet}", names=[facet, "", ""])


def _percent(share: float) -> Figure:
    return Figure(f"{share:.1%}")


def _sizes(page: Page, _: ReportData, found: Figures) -> None:
    assets = found.assets
    page.paragraph(
        "GiB are 1024³ bytes. What is not known counts nothing and is told beside the sum. Applications have no size and"
        " are left out."
    )
    moved = {"to be moved": assets.to_move} | {f"not moved: {why}": part for why, part in assets.not_moved.items()}
    page.table(
        ["Machines", "How many", *(heading for title in SIZE_TITLES.values() for heading in (title, "known of"))],
        [
            (what, part["cpu_cores"].count, *(cell for size in part.values() for cell in (_sum(size), size.known)))
            for what, part in moved.items()
            if part["cpu_cores"].count
        ],
        anchor="to-move",
    )
    if assets.not_moved:
        page.paragraph(
            "The machines on a hypervisor host use its cores and memory, and templates run nowhere. Below, by type, what"
            " is moved and what is not are together, so the sum of all types is no size of anything to be built.",
            style="note",
        )
    for name, title in SIZE_TITLES.items():
        parts = assets.sizes[name]
        size = assets.size(name)
        rows: list[tuple[Any, ...]] = [
            (kind, _sum(part), part.known, part.unknown)
            for kind, part in sorted(parts.items(), key=lambda item: (-item[1].total, item[0]))
        ]
        unknown = figure(f"unknown-{name}", size.unknown) if size.unknown else 0
        rows.append((Html("<b>all</b>"), _sum(size), size.known, unknown))
        page.table(
            ["Type", title, "known of", "unknown of"], rows, caption=title, anchor=f"size-{name}",
            names=["asset_type", "", "", ""],
        )  # fmt: skip
    page.chart(
        charts.bars(
            "c-memory",
            "Memory by type",
            {kind: _round(part.total) for kind, part in assets.sizes["memory_gb"].items() if part.known},
            unit=" GiB",
        )
    )


def _stays(page: Page, assets: AssetFigures) -> str:
    """What is not moved, by reason, with its cores and memory."""
    return "; ".join(
        f"{charts.counted(part['cpu_cores'].count, 'machine', 'machines')} with {charts.number(_sum(part['cpu_cores']))}"
        f" cores and {charts.number(_sum(part['memory_gb']))} GiB of memory, because {page.shown(why)}"
        for why, part in assets.not_moved.items()
    )


def _sum(size: Size) -> float | None:
    return _round(size.total) if size.known else None


def _round(value: float) -> float:
    rounded = round(value, 2)
    return int(rounded) if rounded == int(rounded) else rounded


def _rows(page: Page, _: ReportData, found: Figures) -> None:
    for facet, tally in found.assets.by.items():
        if not tally.is_known:
            continue
        for at, (value, count) in enumerate(tally.most(MOST_VALUES).items()):
            page.heading(f"rows-{facet}-{at}", f"{TITLES[facet]}: {page.shown(value, facet)}", 3)
            _brief_rows(page, tally.first[value], count)
    for name, rows in found.assets.unknown_size.items():
        if rows:
            page.heading(f"unknown-{name}", f"{SIZE_TITLES[name]} not known", 3)
            _brief_rows(page, rows, found.assets.size(name).unknown)


def _brief_rows(page: Page, rows: Sequence[Row], count: int) -> None:
    page.table(
        ["Asset", "Type", "Environment", "System", "Power", "Cores", "Memory GiB", "Storage GiB", "Owner", "First seen in"],
        [
            (
                row["name"],
                row["asset_type"],
                row["environment"],
                row["system"],
                row["power_state"],
                row["cpu_cores"],
                row["memory_gb"],
                row["storage_gb"],
                row["business_owner"],
                place(row["source"]),
            )
            for row in rows
        ],
        names=["name", "asset_type", "environment", "operating_system", "", "", "", "", "business_owner", "source"],
    )  # fmt: skip
    page.rest(len(rows), count, "Assets")
