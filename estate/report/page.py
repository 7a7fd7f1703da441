"""The parts a page is put together from. Every text passes through `Page`, which masks it, shows what is hidden in it
and escapes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from html import escape
from typing import IO, Any

from estate.personal import masked, without_credentials
from estate.report.cells import as_text, visible
from estate.report.charts import number

MOST_CHARACTERS = 600
"""A text longer than this is cut on the page, and says so; the workbook has more of it."""

Mask = Callable[[str, str], str]


def mask(personal: bool) -> Mask:
    """How texts are masked: credentials always; with `personal` e-mail addresses, telephone numbers and the like too."""

    @lru_cache(maxsize=100_000)
    def masking(name: str, text: str) -> str:
        return str(masked(name, text) if personal else without_credentials(name, text)[0])

    return masking


def shown(mask: Mask, name: str, value: Any) -> Any:
    """A value with every text in it masked, those of a map under their own names; whole numbers may be telephone
    numbers."""
    if isinstance(value, dict):
        return {key: shown(mask, str(key), inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [shown(mask, name, inner) for inner in value]
    if value is None or isinstance(value, bool | float):
        return value
    text = str(value)
    told = mask(name, text)
    return value if told == text else told


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


class Figure(Html):
    """A figure with a link, set as figures are."""

    __slots__ = ()


Cell = Any
"""A value of a row (text, figure, list, ...), or `Html`."""


class Page:
    """Writes one HTML page to a text file, part by part."""

    def __init__(self, out: IO[str], mask: Mask) -> None:
        self._out = out
        self._mask = mask

    def write(self, html: str) -> None:
        """HTML as it is."""
        self._out.write(html)

    def text(self, value: Any, name: str = "") -> Html:
        """A value as text; `name` is the field that it comes from."""
        text = visible(as_text(shown(self._mask, name, value)))
        if len(text) > MOST_CHARACTERS:
            text = f"{text[:MOST_CHARACTERS]}… ({len(text)} characters)"
        return Html(escape(text))

    def shown(self, value: Any, name: str = "") -> str:
        """As `text`, not escaped: for headings and charts, which escape by themselves."""
        return visible(as_text(shown(self._mask, name, value)))[:MOST_CHARACTERS]

    def cell(self, value: Cell, name: str = "") -> Html:
        """A value as the content of a table's cell."""
        if isinstance(value, Html):
            return value
        if value is None or value == "":
            return Html('<span class="none" title="not known">–</span>')
        if isinstance(value, bool):
            return Html("yes" if value else "no")
        if isinstance(value, int | float):
            return Html(number(value))
        return self.text(value, name)

    def heading(self, anchor: str, text: str, level: int = 2) -> None:
        """A heading that can be linked to."""
        self.write(f'<h{level} id="{escape(anchor)}">{escape(visible(text))}</h{level}>\n')

    def paragraph(self, *parts: str, style: str = "") -> None:
        """A paragraph; parts that are not `Html` are escaped."""
        inside = "".join(part if isinstance(part, Html) else escape(visible(part)) for part in parts)
        self.write(f"<p{_attribute('class', style)}>{inside}</p>\n")

    def table(
        self,
        headings: Sequence[str],
        rows: Iterable[Sequence[Cell]],
        *,
        anchor: str = "",
        caption: str = "",
        names: Sequence[str] = (),
        narrow: bool = False,
    ) -> None:
        """A table, figures to the right; `names` are the fields that its columns come from, where that is not the
        heading, `narrow` is one that others may stand beside."""
        listed = list(rows)
        right = [_is_figures([row[at] for row in listed]) for at in range(len(headings))]
        self.write(f'<div class="wide{" narrow" if narrow else ""}"><table{_attribute("id", anchor)}>')
        if caption:
            self.write(f"<caption>{escape(visible(caption))}</caption>")
        self.write("<thead><tr>")
        for text, is_figure in zip(headings, right, strict=True):
            self.write(f'<th scope="col"{_attribute("class", "n" if is_figure else "")}>{escape(text)}</th>')
        self.write("</tr></thead><tbody>\n")
        for row in listed:
            cells = [
                f"<td{_attribute('class', 'n' if is_figure else '')}>{self.cell(value, name)}</td>"
                for value, name, is_figure in zip(row, names or headings, right, strict=True)
            ]
            self.write(f"<tr>{''.join(cells)}</tr>\n")
        self.write("</tbody></table></div>\n")

    def facts(self, pairs: Mapping[str, Cell]) -> None:
        """Names and values."""
        self.write("<dl>")
        for name, value in pairs.items():
            self.write(f"<dt>{escape(name)}</dt><dd>{self.cell(value, name)}</dd>")
        self.write("</dl>\n")

    def chart(self, svg: str) -> None:
        """A chart, where there is one."""
        if svg:
            self.write(f"<figure>{svg}</figure>\n")

    def rest(self, shown: int, total: int, sheet: str) -> None:
        """Where the other rows are, when not all are shown."""
        if total > shown:
            self.paragraph(
                f"{number(shown)} of {number(total)} are shown; all rows: sheet {sheet} of the workbook.", style="rest"
            )


def _is_figures(cells: Sequence[Cell]) -> bool:
    """Whether a column holds figures and nothing else."""
    told = [cell for cell in cells if cell is not None]
    return bool(told) and all(
        isinstance(cell, Figure) or (isinstance(cell, int | float) and not isinstance(cell, bool)) for cell in told
    )


def _attribute(name: str, value: str) -> str:
    return f' {name}="{escape(value)}"' if value else ""


def link(anchor: str, text: str) -> Html:
    """A link within the page."""
    return Html(f'<a href="#{escape(anchor)}">{escape(text)}</a>')


def figure(anchor: str, value: int) -> Figure:
    """A figure that leads to the rows behind it."""
    return Figure(link(anchor, number(value)))


def badge(severity: Any) -> Html:
    """A severity with its colour."""
    known = severity if severity in ("critical", "high", "medium", "low", "info") else "info"
    return Html(f'<span class="badge {known}">{escape(visible(as_text(severity)))}</span>')


HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="referrer" content="no-referrer">
<meta name="color-scheme" content="light dark">
"""

STYLE = """<style>
:root{--bg:#fff;--fg:#1b1f24;--soft:#57606a;--line:#d0d7de;--panel:#f6f8fa;--link:#0550ae;
--c0:#2f6fbb;--c1:#c2571a;--c2:#3b8640;--c3:#8250c4;--c4:#b0437f;--c5:#0f7f86;--c6:#8a6d1c;--c7:#6e7781;
--critical:#a40e26;--high:#bc4c00;--medium:#8a6400;--low:#33689c;--info:#6e7781;--inside:#fff}
@media(prefers-color-scheme:dark){:root{--bg:#0f1419;--fg:#e2e8ee;--soft:#9aa6b2;--line:#333d47;--panel:#171e26;
--link:#7db7ff;--c0:#5b9bea;--c1:#e58748;--c2:#61b567;--c3:#b08cf0;--c4:#e07ab0;--c5:#3fb5bd;--c6:#c9a544;--c7:#8f9aa5;
--critical:#ff6b7d;--high:#f0883e;--medium:#d8a723;--low:#6da7e0;--info:#9aa6b2;--inside:#0f1419}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem 1.2rem 4rem;max-width:1180px;background:var(--bg);color:var(--fg);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
h1{font-size:1.7rem;margin:.2rem 0 .4rem}
h2{font-size:1.3rem;margin:2.4rem 0 .6rem;padding-bottom:.25rem;border-bottom:1px solid var(--line)}
h3{font-size:1.05rem;margin:1.5rem 0 .4rem}
p{margin:.4rem 0 .7rem;max-width:78ch}a{color:var(--link)}
p,td,dd,h1{unicode-bidi:plaintext;overflow-wrap:anywhere}
nav ol{columns:2;padding-left:1.4rem;margin:.5rem 0}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.15rem 1rem;margin:.5rem 0}
dt{color:var(--soft)}dd{margin:0}
.wide{overflow-x:auto;margin:.5rem 0 1rem}
table{border-collapse:collapse;width:100%;font-size:.86rem}
caption{text-align:left;font-weight:600;padding:.3rem 0}
th,td{padding:.28rem .55rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
td{min-width:7rem}td.n,td:empty{min-width:3rem}
.narrow{width:min(100%,34rem)}.facets{columns:24rem;column-gap:2rem}.facets .wide{break-inside:avoid}
th{background:var(--panel);font-weight:600;position:sticky;top:0}
td.n,th.n{text-align:right}td.n{font-variant-numeric:tabular-nums;white-space:nowrap}
.none,.rest,.note{color:var(--soft)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(165px,1fr));gap:.7rem;margin:1rem 0}
.card{background:var(--panel);border:1px solid var(--line);border-radius:8px;padding:.65rem .8rem}
.card b{display:block;font-size:1.5rem;line-height:1.25;font-variant-numeric:tabular-nums}
.card a{color:inherit;text-decoration:none}.card a:hover{text-decoration:underline}
.card span{color:var(--soft);font-size:.84rem;display:block}
.badge{display:inline-block;padding:0 .5em;border-radius:1em;border:1px solid currentColor;font-size:.8rem}
.badge.critical,.chosen{font-weight:600}
.badge.critical{color:var(--critical)}.badge.high{color:var(--high)}.badge.medium{color:var(--medium)}
.badge.low{color:var(--low)}.badge.info{color:var(--info)}
.chosen>.none{font-weight:400}.chosen{border-left:3px solid var(--c2);padding-left:.4rem}.other{border-left:3px solid var(--line);padding-left:.4rem}
figure{margin:.8rem 0;display:inline-block;vertical-align:top;width:min(100%,565px)}
figcaption{font-weight:600;font-size:.9rem;margin-bottom:.3rem}svg.chart{max-width:100%;height:auto;font:12px system-ui,"DejaVu Sans",sans-serif}
svg text{fill:var(--fg)}svg a text{fill:var(--link)}svg .value{fill:var(--soft)}
svg .inside{fill:var(--inside);font-size:11px}svg .big{font-size:22px;font-weight:600}
svg .ring{fill:none!important}
.s0{fill:var(--c0);stroke:var(--c0)}.s1{fill:var(--c1);stroke:var(--c1)}.s2{fill:var(--c2);stroke:var(--c2)}
.s3{fill:var(--c3);stroke:var(--c3)}.s4{fill:var(--c4);stroke:var(--c4)}.s5{fill:var(--c5);stroke:var(--c5)}
.s6{fill:var(--c6);stroke:var(--c6)}.s7{fill:var(--c7);stroke:var(--c7)}
svg .critical{fill:var(--critical);stroke:var(--critical)}svg .high{fill:var(--high);stroke:var(--high)}
svg .medium{fill:var(--medium);stroke:var(--medium)}svg .low{fill:var(--low);stroke:var(--low)}
svg .info{fill:var(--info);stroke:var(--info)}svg .fine{fill:var(--c2);stroke:var(--c2)}
svg rect{stroke:none}svg .extended{opacity:.45}svg .grid{stroke:var(--line)}
svg .today{stroke:var(--fg);stroke-width:2;stroke-dasharray:4 3}
:target{outline:2px solid var(--link);outline-offset:4px}
@media print{:root{--bg:#fff;--fg:#000;--soft:#444;--line:#bbb;--panel:#f2f2f2;--link:#000;--inside:#fff;
--c0:#2f6fbb;--c1:#c2571a;--c2:#3b8640;--c3:#8250c4;--c4:#b0437f;--c5:#0f7f86;--c6:#8a6d1c;--c7:#6e7781;
--critical:#a40e26;--high:#bc4c00;--medium:#8a6400;--low:#33689c;--info:#6e7781}
body{font-size:10pt;max-width:none;padding:0}table{font-size:8pt}th{position:static}thead{display:table-header-group}
tr,figure,.card{break-inside:avoid}h2,h3,caption{break-after:avoid}.wide{overflow:visible}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
</style>
"""
