"""Charts as SVG with a caption, drawn by hand: every figure also stands there as text, every chart has a title and a
description."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from estate.report.cells import visible

SERIES = 8
"""How many colours there are, the last of them grey; when all are used the first comes again."""
_ROW = 26
_LABEL = 245
_BAR = 310
_WIDTH = 640


def _text(text: str, most: int = 36) -> str:
    shown = visible(text)
    return escape(shown if len(shown) <= most else shown[: most - 1] + "…")


def number(value: float | int | None) -> str:
    """A figure for people: thousands apart by a narrow blank, at most two decimals, unknown as a dash."""
    if value is None:
        return "–"
    text = f"{value:,.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else f"{value:,}"
    return text.replace(",", "\u202f")


def counted(count: int, one: str, many: str) -> str:
    """A figure with its word: `1 asset`, `3 assets`."""
    return f"{number(count)} {one if count == 1 else many}"


def _frame(name: str, title: str, description: str, height: int, inside: str) -> str:
    return (
        f"<figcaption>{escape(visible(title))}</figcaption>"
        f'<svg role="img" class="chart" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
        f' aria-labelledby="{name}-t {name}-d"><title id="{name}-t">{escape(visible(title))}</title>'
        f'<desc id="{name}-d">{escape(visible(description))}</desc>{inside}</svg>'
    )


def _style(label: str, at: int) -> str:
    """The colour of a series; what is unknown is grey."""
    return "s7" if label == "unknown" else f"s{at % (SERIES - 1)}"


def _linked(label: str, link: str | None) -> str:
    return f'<a href="#{escape(link)}">{label}</a>' if link else label


def bars(
    name: str,
    title: str,
    counts: Mapping[str, float],
    *,
    links: Mapping[str, str] | None = None,
    unit: str = "",
    most: float | None = None,
) -> str:
    """One horizontal bar for each entry, with its figure; `links` lead from an entry to an anchor of the page, `most` is
    the figure of a full bar."""
    if not counts:
        return ""
    longest = most or max(counts.values()) or 1
    parts = []
    for at, (label, value) in enumerate(counts.items()):
        top = at * _ROW
        length = max(_BAR * value / longest, 1 if value else 0)
        label_text = f'<text x="{_LABEL - 8}" y="{top + 17}" text-anchor="end">{_text(label)}</text>'
        parts.append(
            _linked(label_text, (links or {}).get(label))
            + f'<rect class="s0" x="{_LABEL}" y="{top + 4}" width="{length:.1f}" height="18" rx="2"/>'
            f'<text class="value" x="{_LABEL + length + 6:.1f}" y="{top + 17}">{number(value)}{escape(unit)}</text>'
        )
    told = "; ".join(f"{label}: {number(value)}{unit}" for label, value in counts.items())
    return _frame(name, title, told, len(counts) * _ROW + 4, "".join(parts))


def stacked(
    name: str, title: str, table: Mapping[str, Mapping[str, int]], *, classes: Mapping[str, str] | None = None
) -> str:
    """One bar for each entry, made of the parts of all series; a legend says which colour is which."""
    if not table:
        return ""
    met = dict.fromkeys(part for parts in table.values() for part in parts)
    series = [part for part in classes or () if part in met]
    series += [part for part in met if part not in series]
    style = {part: (classes or {}).get(part) or _style(part, at) for at, part in enumerate(series)}
    most = max(sum(parts.values()) for parts in table.values()) or 1
    drawn, left, top = [], 0, 0
    for part in series:
        width = 30 + 7 * min(len(part), 24)
        if left and left + width > _WIDTH:
            left, top = 0, top + 20
        drawn.append(
            f'<rect class="{style[part]}" x="{left}" y="{top}" width="12" height="12" rx="2"/>'
            f'<text x="{left + 17}" y="{top + 11}">{_text(part, 24)}</text>'
        )
        left += width
    head = top + 26
    for at, (label, parts) in enumerate(table.items()):
        y, x = head + at * _ROW, float(_LABEL)
        drawn.append(f'<text x="{_LABEL - 8}" y="{y + 15}" text-anchor="end">{_text(label)}</text>')
        for part, value in parts.items():
            length = _BAR * value / most
            drawn.append(
                f'<rect class="{style[part]}" x="{x:.1f}" y="{y + 2}" width="{length:.1f}" height="18">'
                f"<title>{escape(visible(f'{label}, {part}: {number(value)}'))}</title></rect>"
            )
            if length > 8 * len(str(value)) + 4:
                drawn.append(
                    f'<text class="inside" x="{x + length / 2:.1f}" y="{y + 15}" text-anchor="middle">{value}</text>'
                )
            x += length
        drawn.append(f'<text class="value" x="{x + 6:.1f}" y="{y + 15}">{number(sum(parts.values()))}</text>')
    told = "; ".join(
        f"{label}: " + ", ".join(f"{part} {number(value)}" for part, value in parts.items())
        for label, parts in table.items()
    )
    return _frame(name, title, told, head + len(table) * _ROW + 4, "".join(drawn))


def donut(
    name: str, title: str, counts: Mapping[str, int], *, classes: Mapping[str, str] | None = None, middle: str = ""
) -> str:
    """A ring of the shares, the sum in the middle, and beside it every entry with figure and share."""
    total = sum(counts.values())
    if not total:
        return ""
    radius, stroke, centre = 62, 30, 90
    around = 2 * math.pi * radius
    drawn, begun = [], 0.0
    for at, (label, value) in enumerate(counts.items()):
        style = (classes or {}).get(label) or _style(label, at)
        length = around * value / total
        drawn.append(
            f'<circle class="{style} ring" cx="{centre}" cy="{centre}" r="{radius}" stroke-width="{stroke}"'
            f' stroke-dasharray="{length:.2f} {around - length:.2f}" stroke-dashoffset="{-begun:.2f}"'
            f' transform="rotate(-90 {centre} {centre})"/>'
            f'<rect class="{style}" x="200" y="{14 + at * 24}" width="14" height="14" rx="2"/>'
            f'<text x="222" y="{26 + at * 24}">{_text(label)}: {number(value)} ({value / total:.1%})</text>'
        )
        begun += length
    drawn.append(f'<text class="big" x="{centre}" y="{centre + 4}" text-anchor="middle">{number(total)}</text>')
    drawn.append(f'<text x="{centre}" y="{centre + 22}" text-anchor="middle">{_text(middle, 14)}</text>')
    told = "; ".join(f"{label}: {number(value)} ({value / total:.1%})" for label, value in counts.items())
    return _frame(name, title, told, max(180, 24 + len(counts) * 24), "".join(drawn))


@dataclass(frozen=True, slots=True)
class Span:
    """A line of a timeline: support of a product until `end`, extended until `extended` (ISO dates); `count` assets."""

    label: str
    end: str
    extended: str | None
    count: int


def timeline(name: str, title: str, spans: Sequence[Span], today: str) -> str:
    """When support ends, a row for each product version, with a line for the day of the assessment."""
    if not spans:
        return ""
    ends = [_year(day) for span in spans for day in (span.end, span.extended) if day]
    first = math.floor(min(*ends, _year(today)) - 0.5)
    last = math.ceil(max(*ends, _year(today)) + 0.5)
    left, right, head = _LABEL, _WIDTH - 60, 24
    at = _scale(first, last, left, right)
    height = head + len(spans) * _ROW + 8
    drawn = [
        f'<line class="grid" x1="{at(year):.1f}" x2="{at(year):.1f}" y1="{head - 4}" y2="{height - 4}"/>'
        f'<text x="{at(year):.1f}" y="14" text-anchor="middle">{year}</text>'
        for year in range(first, last + 1, max(1, math.ceil((last - first) / 10)))
    ]
    for row, span in enumerate(spans):
        y, end = head + row * _ROW, _year(span.end)
        last_day = span.extended or span.end
        style = "critical" if last_day < today else "high" if span.end < today else "fine"
        drawn.append(f'<text x="{left - 8}" y="{y + 16}" text-anchor="end">{_text(span.label)}</text>')
        drawn.append(
            f'<rect class="{style}" x="{left}" y="{y + 6}" width="{at(end) - left:.1f}" height="12" rx="2">'
            f"<title>{escape(visible(_told(span)))}</title></rect>"
        )
        if span.extended:
            drawn.append(
                f'<rect class="{style} extended" x="{at(end):.1f}" y="{y + 6}" height="12" rx="2"'
                f' width="{max(at(_year(span.extended)) - at(end), 0):.1f}"/>'
            )
        drawn.append(f'<text class="value" x="{right + 8}" y="{y + 16}">{number(span.count)}</text>')
    x = at(_year(today))
    drawn.append(f'<line class="today" x1="{x:.1f}" x2="{x:.1f}" y1="{head - 4}" y2="{height - 4}"/>')
    told = f"As of {today}. " + "; ".join(_told(span) for span in spans)
    return _frame(name, title, told, height, "".join(drawn))


def _told(span: Span) -> str:
    extended = f", extended support until {span.extended}" if span.extended else ""
    return f"{span.label}: support until {span.end}{extended}; {number(span.count)} assets"


def _year(day: str) -> float:
    year, month, date = (int(part) for part in day[:10].split("-"))
    return year + (month - 1) / 12 + (date - 1) / 365


def _scale(first: float, last: float, left: float, right: float) -> Callable[[float], float]:
    return lambda year: left + (right - left) * (year - first) / (last - first)
