"""The parts of the page about what is doubtful, what depends on what, what is owed, and what the owners should settle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import islice
from typing import Any

from estate.issues import SEVERITIES
from estate.report import charts
from estate.report.cells import as_text
from estate.report.columns import place
from estate.report.data import ReportData
from estate.report.figures import LISTED, Figures, Row, product_of
from estate.report.page import Html, Page, badge, link
from estate.roles import IGNORED

NOT_YET = "This phase has not been completed; nothing is known of it yet."


def conflicts(page: Page, _: ReportData, found: Figures) -> None:
    """The values that sources tell differently, side by side, with the one that was chosen."""
    tally = found.assets.conflicts
    if not tally.total:
        page.paragraph("No two sources disagree.")
        return
    page.paragraph(
        f"{charts.counted(found.assets.with_conflicts, 'asset has', 'assets have')}"
        f" {charts.counted(tally.total, 'value', 'values')} that sources tell differently. All of them are kept; the one"
        " that counts is marked."
    )
    page.chart(charts.bars("c-conflicts", "Conflicts by field", _labels(page, tally.most(12), "field")))
    listed = [row for field in tally.most() for row in tally.first[field]][:LISTED]
    page.table(
        ["Asset", "Field", "Values and where they stand", "Why the marked one"],
        [(row["name"], row.get("field"), _side_by_side(page, row), row.get("why")) for row in listed],
        names=["name", "field", "", "why"],
    )
    page.rest(len(listed), tally.total, "Conflicts")


def _side_by_side(page: Page, conflict: Row) -> Html:
    parts = []
    chosen = conflict.get("chosen")
    for told in conflict.get("values") or ():
        value = told.get("value")
        sources = told.get("sources") or ()
        where = "; ".join(filter(None, (place(source) for source in sources[:3])))
        more = f" and {len(sources) - 3} more" if len(sources) > 3 else ""
        style = "chosen" if value == chosen else "other"
        parts.append(
            f'<div class="{style}">{page.cell(value, str(conflict.get("field")))}'
            f' <span class="none">{page.text(where + more, "source")}</span></div>'
        )
    return Html("".join(parts))


def _labels(page: Page, counts: Mapping[str, int], name: str) -> dict[str, int]:
    """The counts under names that may be shown; what is masked alike is counted together."""
    shown: dict[str, int] = {}
    for label, count in counts.items():
        text = page.shown(label, name)
        shown[text] = shown.get(text, 0) + count
    return shown


def dependencies(page: Page, data: ReportData, found: Figures) -> None:
    """Who talks to whom, what is noise, what belongs together."""
    edges = found.edges
    if not data.has("dependencies"):
        page.paragraph(NOT_YET)
        return
    if not edges.total:
        page.paragraph("No file holds connections or relations; dependencies are unknown, not absent.")
        return
    page.paragraph(
        f"{charts.number(edges.observations)} rows tell {charts.number(edges.total)} dependencies;"
        f" {charts.number(edges.noise.total)} of them are noise, set apart below, and"
        f" {charts.number(edges.kept)} count."
    )
    if edges.volume.known:
        page.paragraph(
            f"Volume: {charts.number(int(edges.volume.total))} bytes, told by {charts.number(edges.volume.known)}"
            f" dependencies; not known of {charts.number(edges.volume.unknown)}."
        )
    page.chart(charts.bars("c-kinds", "Dependencies by kind", _labels(page, edges.kinds.most(12), "kind")))
    talkers = edges.talkers(20)
    page.table(
        ["Top talkers", "Begin here", "End here", "Together"],
        [(name, out, into, out + into) for name, out, into in talkers],
        anchor="talkers",
        names=["name", "", "", ""],
    )
    page.rest(len(talkers), len(edges.uses), "Dependencies")
    _edge_rows(page, edges.kinds.first, edges.kept)
    _noise(page, found)
    _unknown_ends(page, found)
    _groups(page, data)


def _edge_rows(page: Page, first: Mapping[str, list[Row]], total: int) -> None:
    rows = [row for kind in first for row in first[kind]][:LISTED]
    page.table(
        ["From", "To", "Port", "Protocol", "Process", "Kind", "Rows", "First seen", "Last seen", "Stands in"],
        [
            (
                row.get("source_name"),
                row.get("target_name"),
                _port(row),
                row.get("protocol"),
                row.get("process"),
                row.get("relation") or row.get("kind"),
                row.get("observations"),
                row.get("first_seen"),
                row.get("last_seen"),
                place(row.get("source")),
            )
            for row in rows
        ],
        caption="Dependencies",
        anchor="edges",
    )
    page.rest(len(rows), total, "Dependencies")


def _port(row: Row) -> str | None:
    port = row.get("port")
    return None if port is None else str(port)


def _noise(page: Page, found: Figures) -> None:
    noise = found.edges.noise
    page.heading("noise", "Noise, set apart", 3)
    if not noise.total:
        page.paragraph("Nothing was set apart.")
        return
    page.paragraph("What every machine uses says nothing about what belongs together. It is kept, with the reason.")
    page.table(
        ["Reason", "Dependencies", "For example"],
        [
            (
                reason,
                count,
                "; ".join(f"{row.get('source_name')} → {row.get('target_name')}" for row in noise.first[reason][:2]),
            )
            for reason, count in islice(noise.most().items(), LISTED)
        ],
    )
    page.rest(min(LISTED, len(noise.counts)), len(noise.counts), "Noise")


def _unknown_ends(page: Page, found: Figures) -> None:
    edges = found.edges
    page.heading("unknown-ends", "Ends that are no asset", 3)
    if not edges.unknown:
        page.paragraph("Every end is an asset of the inventory.")
        return
    page.paragraph(
        f"{charts.number(edges.unknown_edges)} dependencies begin or end at {charts.number(len(edges.unknown))} names"
        " or addresses that the inventory does not have."
    )
    listed = sorted(edges.unknown.items(), key=lambda item: (-item[1], item[0]))[:20]
    page.table(["Name or address", "Dependencies"], listed, names=["name", ""], narrow=True)
    page.rest(len(listed), len(edges.unknown), "Dependencies")


def _groups(page: Page, data: ReportData) -> None:
    page.heading("groups", "Move groups", 3)
    groups = list(data.rows("move_groups"))
    if not groups:
        page.paragraph("No two assets depend on each other.")
        return
    page.paragraph(
        f"{charts.number(len(groups))} groups of assets hang together, noise left out; whoever moves one should look at"
        " the others."
    )
    listed = groups[:20]
    page.table(
        ["Group", "Assets", "Dependencies", "Circles", "Applications", "Environments", "Names"],
        [
            (
                f"{at}",
                group.get("size"),
                group.get("edges"),
                len(group.get("cycles") or ()),
                _some(group.get("applications") or (), 6),
                ", ".join(f"{name} {count}" for name, count in (group.get("environments") or {}).items()),
                _some(group.get("names") or (), 12),
            )
            for at, group in enumerate(listed, 1)
        ],
        names=["", "", "", "", "application_name", "environment", "name"],
    )
    page.rest(len(listed), len(groups), "Move groups")
    circles = [(at, cycle) for at, group in enumerate(groups, 1) for cycle in group.get("cycles") or ()]
    page.heading("circles", "Circles", 3)
    if not circles:
        page.paragraph("No assets depend on each other in a circle.")
        return
    page.table(
        ["Group", "Assets", "Depend on each other in a circle and move together"],
        [(str(at), len(cycle), _some(cycle, 30)) for at, cycle in circles[:LISTED]],
        names=["", "", "name"],
    )
    page.rest(min(LISTED, len(circles)), len(circles), "Move groups")


def _some(names: Any, most: int) -> str:
    left = len(names) - most
    return ", ".join(as_text(name) for name in names[:most]) + (f" and {left} more" if left > 0 else "")


def debt(page: Page, data: ReportData, found: Figures) -> None:
    """What is out of support or otherwise holds the estate back."""
    figures, told = found.debt, data.of("tech_debt_assessment")
    if not data.has("findings"):
        page.paragraph(NOT_YET)
        return
    if told.get("score") is not None:
        page.paragraph(
            f"Score of the estate: {charts.number(told['score'])} of 100"
            f" ({charts.number(told.get('assets_scored'))} assets scored,"
            f" {charts.number(told.get('assets_not_scored'))} not, because what they run is not known)."
        )
    if told.get("formula"):
        page.paragraph("Formula: ", page.text(told["formula"]), style="note")
    if not figures.total:
        page.paragraph("Nothing was found.")
        return
    ranked = {severity: figures.by_severity.counts[severity] for severity in SEVERITIES}
    classes = {severity: severity for severity in SEVERITIES}
    shown = {severity: count for severity, count in ranked.items() if count}
    page.chart(charts.donut("c-severity", "Findings by severity", shown, classes=classes, middle="findings"))
    page.chart(
        charts.stacked(
            "c-findings",
            "Findings by kind and severity",
            {kind.replace("_", " "): _ranked(parts) for kind, parts in figures.kind_by_severity.items()},
            classes=classes,
        )
    )
    products = sorted(figures.product_by_severity.items(), key=lambda item: (-item[1].total(), item[0]))[:20]
    page.chart(
        charts.stacked(
            "c-products",
            "End of support by product",
            {page.shown(product, "operating_system"): _ranked(parts) for product, parts in products},
            classes=classes,
        )
    )
    today = told.get("reference_date")
    if today and figures.spans:
        page.heading("timeline", "When support ends", 3)
        page.paragraph(
            f"Dashed line: {today}. Red: all support has ended; orange: only extended support, which has to be paid for"
            " or is by volunteers, drawn paler; green: supported. At the end of each line the number of assets."
        )
        page.chart(charts.timeline("c-support", "End of support", figures.spans[:40], str(today)))
        page.rest(min(40, len(figures.spans)), len(figures.spans), "Findings")
    worst = [row for severity in SEVERITIES for row in figures.by_severity.first[severity]][:LISTED]
    page.table(
        ["Severity", "Asset", "Product", "Finding", "Remedy", "Stands in"],
        [
            (
                badge(row.get("severity")),
                row.get("asset_name"),
                product_of(row),
                row.get("message"),
                row.get("remedy"),
                place(row.get("source")),
            )
            for row in worst
        ],
        anchor="findings",
        names=["", "name", "operating_system", "message", "remedy", "source"],
    )
    page.rest(len(worst), figures.total, "Findings")
    page.table(
        ["Remedy", "Findings"], list(figures.remedies.most(20).items()), caption="Remedies", names=["remedy", ""]
    )
    page.rest(min(20, len(figures.remedies.counts)), len(figures.remedies.counts), "Findings")


def _ranked(parts: Mapping[str, int]) -> dict[str, int]:
    known = {severity: parts[severity] for severity in SEVERITIES if parts.get(severity)}
    return known | {severity: count for severity, count in parts.items() if severity not in known and count}


def issues(page: Page, _: ReportData, found: Figures) -> None:
    """What the owners should settle, by owner and kind."""
    figures = found.issues
    if not figures.total:
        page.paragraph("There is nothing to settle.")
        return
    page.paragraph(
        f"{charts.number(figures.total)} issues for the owners."
        + (f" With the {charts.number(figures.findings)} findings of " if figures.findings else ""),
        *(
            (
                link("debt", "technical debt"),
                f", they are the {charts.number(figures.total + figures.findings)} of the API and the csv.",
            )
            if figures.findings
            else ()
        ),
    )
    classes = {severity: severity for severity in SEVERITIES}
    page.chart(
        charts.donut(
            "c-issues",
            "Issues by severity",
            _ranked(figures.by_severity.counts),
            classes=classes,
            middle="issues",
        )
    )
    owners = sorted(figures.by_owner.items(), key=lambda item: (-item[1].total(), item[0]))
    rows = []
    for owner, kinds in owners:
        for kind, count in kinds.most_common():
            worst = figures.worst[owner, kind]
            rows.append(
                (
                    owner,
                    kind.replace("_", " "),
                    count,
                    badge(worst.get("severity")),
                    worst.get("message"),
                    place(worst.get("source")),
                )
            )
    page.table(
        ["Owner", "Kind", "Issues", "Worst", "The first of the worst", "Stands in"],
        rows[: 3 * LISTED],
        names=["business_owner", "kind", "", "", "message", "source"],
    )
    page.rest(min(len(rows), 3 * LISTED), len(rows), "Issues")
    for at, (kind, count) in enumerate(figures.kinds.most(20).items()):
        page.heading(f"issues-{at}", f"{page.shown(kind, 'kind').replace('_', ' ')}: {charts.number(count)}", 3)
        page.table(
            ["Severity", "Issue", "Field", "File", "Sheet", "Row"],
            [
                (
                    badge(row.get("severity")),
                    row.get("message"),
                    row.get("field"),
                    (row.get("source") or {}).get("file"),
                    (row.get("source") or {}).get("sheet"),
                    (row.get("source") or {}).get("row"),
                )
                for row in figures.kinds.first[kind]
            ],
            names=["", "message", "field", "file", "sheet", ""],
        )
        page.rest(len(figures.kinds.first[kind]), count, "Issues")


def unread(page: Page, data: ReportData, _: Figures) -> None:
    """The rows and sheets that were not taken, with the reasons."""
    reasons: Counter[str] = Counter()
    listed: list[Row] = []
    for row in data.not_taken():
        reasons[str(row.get("reason"))] += 1
        if len(listed) < LISTED:
            listed.append(row)
    ignored = [table for table in data.tables() if table.get("role") == IGNORED]
    if not reasons and not ignored:
        page.paragraph("Every row of every sheet was taken.")
        return
    page.paragraph("Nothing of what is listed here is in the figures above.")
    if ignored:
        page.table(
            ["File", "Sheet", "Rows", "Why not"],
            [(t.get("file"), t.get("sheet"), t.get("rows"), "holds nothing that discovery uses") for t in ignored[:LISTED]],
            caption="Sheets left out",
        )  # fmt: skip
        page.rest(min(LISTED, len(ignored)), len(ignored), "Summary")
    if not reasons:
        return
    shown = {page.shown(reason).replace("_", " "): count for reason, count in reasons.most_common(12)}
    page.chart(charts.bars("c-unread", "Rows not taken, by reason", shown))
    page.table(
        ["File", "Sheet", "Row", "Reason", "In words"],
        [
            (*((row.get("source") or {}).get(part) for part in ("file", "sheet", "row")), row.get("reason"), row.get("message"))
            for row in listed
        ],
        caption="Rows not taken",
        names=["file", "sheet", "", "reason", "message"],
    )  # fmt: skip
    page.rest(len(listed), reasons.total(), "Rejected rows")


def sizing(page: Page, data: ReportData, found: Figures) -> None:
    """What size the measured use of machines asks for."""
    figures = found.sizing
    if not figures.sized:
        page.paragraph("No file tells how busy a machine is, so no size is recommended.")
        return
    page.paragraph(
        f"{charts.number(figures.sized)} of {charts.number(found.assets.total)} assets have a known use. Size needed ="
        f" size now × use × {figures.comfort:g} (comfort factor), rounded up to sizes that clouds offer. The use is the"
        " P95, else the peak, else the average; an average says nothing of peaks, so confirm it before shrinking."
    )
    page.table(
        ["Size", "Now", "Asked for", "Difference"],
        [
            ("Cores", figures.cores_now, figures.cores_wanted, figures.cores_now - figures.cores_wanted),
            (
                "Memory GiB",
                round(figures.memory_now, 1),
                round(figures.memory_wanted, 1),
                round(figures.memory_now - figures.memory_wanted, 1),
            ),
        ],
    )
    told = {"p95": "P95", "peak": "peak", "average": "average"}
    page.chart(
        charts.donut(
            "c-bases", "The use is known as", {told.get(name, name): n for name, n in figures.bases.most_common()}
        )
    )
    flags = {name.replace("_", " "): count for name, count in figures.flags.most_common()}
    page.chart(charts.bars("c-flags", "How well sizes are used", flags))
    page.table(
        ["Asset", "Cores now", "Cores", "Memory now", "Memory GiB", "Told by", "How it was reckoned"],
        [
            (
                row["name"],
                row["cores_now"],
                row["cpu_cores"],
                row["memory_now"],
                row["memory_gb"],
                row["basis"],
                row["formula"],
            )
            for row in figures.largest
        ],
        caption="The largest differences",
    )
    page.rest(len(figures.largest), figures.sized, "Sizing")
