"""Figures as aligned text or as Markdown."""

from dataclasses import dataclass, field

from frcnn.evaluate.tables import align_columns

GIGABYTE = 1e9


@dataclass
class Section:
    """A table with a title above and remarks below.

    Attributes:
        title: one line.
        headers: list of str, one a column.
        rows: lists of str; the first column is aligned to the left, the others to the right.
        notes: list of str, remarks of a line each.
    """

    title: str
    headers: list
    rows: list
    notes: list = field(default_factory=list)


def figure(value, digits=3):
    """A number with about so many significant digits; "–" for None."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    size = f"{abs(value):.{digits - 1}e}"
    decimals = max(0, digits - 1 - int(size.split("e")[1]))
    return f"{value:,.{decimals}f}"


def span(times, scale=1.0):
    """The lowest and highest of several values, as "1.2–1.4"."""
    if not times:
        return "–"
    return f"{figure(min(times) / scale)}–{figure(max(times) / scale)}"


def gigabytes(size):
    """Bytes as decimal gigabytes; "–" for None."""
    return "–" if size is None else f"{size / GIGABYTE:.2f}"


def percent(share):
    """A share as whole percent; "–" for None."""
    return "–" if share is None else f"{100 * share:.0f} %"


def as_text(section):
    """The section with aligned columns."""
    lines = align_columns([section.headers, *section.rows], left=1)
    rule = "-" * max(map(len, lines))
    return "\n".join([section.title, "", lines[0], rule, *lines[1:], *_after(section.notes)])


def as_markdown(section):
    """The section as a Markdown table under a heading."""
    rule = ["---", *["---:"] * (len(section.headers) - 1)]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |"
             for line in (section.headers, rule, *section.rows)]
    return "\n".join([f"### {section.title}", "", *lines, *_after(section.notes)])


def _after(notes):
    return ["", *notes] if notes else []
