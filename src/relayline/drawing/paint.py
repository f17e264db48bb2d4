"""What stands in the boxes of a picture and on its lines, how much room that takes, and in which colours."""

from collections.abc import Sequence
from typing import NamedTuple

from relayline.drawing.diagram import MARKS, Line, Node
from relayline.drawing.layers import Size
from relayline.drawing.words import balanced, counted, width

FIGURE = 16.0
"""The room for a head and shoulders beside the words of a person."""

LEGEND = {
    "chosen": "Thin: the agent chooses",
    "always": "Thick: always, when it is done",
    "tested": "Dashed: if a condition or a function says so",
    "joined": "Thick, with a bar: once all are done that lead there",
    "guarded": "Dashed: not always open",
    "back": "Dotted: back to who asked",
    "jump": "Dotted: no declared way",
    "taken": "Orange: the way it took, step by step",
}

STYLE = """
text{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif;font-size:12px;fill:#1f2937;\
unicode-bidi:plaintext}
.title{font-size:16px;font-weight:600}
.name{font-size:14px;font-weight:600}
.note,.terms{fill:#4b5563;font-size:11px}
.label,.terms,.steps{font-size:11px}
.terms{font-style:italic}
.steps,.doing{fill:#9a3412;font-weight:600;font-size:11px}
.page{fill:#fff}
.frame{fill:#f8fafc;stroke:#475569;stroke-width:1.4}
.inner{fill:none;stroke:#475569}
.person .frame{fill:#eef2ff}
.step .frame{fill:#ecfdf5}
.team .frame{fill:#fefce8}
.hub .frame,.gone .frame{fill:none;stroke-dasharray:3 3}
.here .frame{stroke:#c2410c;stroke-width:3}
.body{fill:#475569}
rect.mark{fill:#475569}
rect.mark.end{fill:#fff;stroke:#475569}
rect.mark.here{fill:#c2410c}
text.mark{fill:#fff;font-size:10px}
text.mark.end{fill:#334155}
.line path{fill:none;stroke:#64748b;stroke-width:1.4}
.line polygon{fill:#64748b}
.guarded path,.tested path{stroke-dasharray:6 4}
.back path,.jump path{stroke-dasharray:2 3}
.taken path{stroke:#c2410c;stroke-width:2.2}
.always path,.joined path{stroke-width:3.2}
.taken polygon{fill:#c2410c}
@media (prefers-color-scheme: dark){
text{fill:#e5e7eb}
.note,.terms{fill:#9ca3af}
.steps,.doing{fill:#fdba74}
.page{fill:#0f172a}
.frame{fill:#1e293b;stroke:#94a3b8}
.inner{stroke:#94a3b8}
.person .frame{fill:#272b52}
.step .frame{fill:#12352c}
.team .frame{fill:#3a3413}
.body,rect.mark{fill:#94a3b8}
rect.mark.end{fill:#0f172a;stroke:#94a3b8}
text.mark{fill:#0f172a}
text.mark.end{fill:#e5e7eb}
.here .frame{stroke:#fb923c}
rect.mark.here{fill:#fb923c}
.line path{stroke:#94a3b8}
.line polygon{fill:#94a3b8}
.taken path{stroke:#fb923c}
.taken polygon{fill:#fb923c}
}
"""

_EM = {"name": 8.2, "about": 6.7, "note": 6.2, "doing": 6.4, "label": 6.2, "terms": 6.0, "steps": 6.6}
"""How wide a column of each kind of words is, in pixels: of the widest common font, so that others fit too."""


class Row(NamedTuple):
    """A line of words, of one ``kind``."""

    kind: str
    text: str


def rows_of_node(node: Node, own: Sequence[Line] = ()) -> list[Row]:
    """What stands in a box. ``own``: the lines from it to itself, which have no other place for their words."""
    if node.kind == "hub":
        return [Row("label", each) for each in balanced(node.about, 20, 4)]
    rows = [Row("name", each) for each in balanced(node.name, 24, 2)]
    rows += [Row("about", each) for each in balanced(node.about, 30, 3)]
    if node.kind in MARKS and node.kind != "person":  # who has a head
        rows.append(Row("note", MARKS[node.kind]))
    for note in node.notes:
        rows += [Row("note", each) for each in balanced(note, 32, 2)]
    for line in own:
        rows += [Row("note", "again, after itself"), *rows_of_line(line)]
    return rows + [Row("doing", each) for each in balanced(node.here, 30, 2)]


def marks_of(node: Node) -> list[tuple[str, float, float]]:
    """What is marked at the upper edge of a box: each with how far from the left it is, and how wide."""
    marks: list[tuple[str, float, float]] = []
    x = 12.0
    for mark, holds in (("start", node.start), ("end", node.end), ("here", node.here)):
        if holds:
            marks.append((mark, x, len(mark) * 6 + 12))
            x += len(mark) * 6 + 16
    return marks


def marked(node: Node) -> float:
    """How much of its upper edge is marks, from the left."""
    return max((x + wide for _, x, wide in marks_of(node)), default=0)


def rows_of_line(line: Line) -> list[Row]:
    """What stands on a line."""
    rows = [Row("steps", counted(line.steps))] if line.steps else []
    rows += [Row("label", each) for each in balanced(line.label, 28, 4)]
    return rows + [Row("terms", each) for each in balanced(", ".join(line.terms), 30, 3)]


def room(rows: list[Row], node: Node | None = None) -> Size:
    """How long and how high the words are, with the space around them: on a line, or in the box of ``node``."""
    long = max((width(row.text) * _EM[row.kind] for row in rows), default=0)
    if node is not None:
        figure = FIGURE if node.kind == "person" else 0
        # A line that comes from above needs a place beside the marks.
        return Size(max(long + 28 + figure, marked(node) + 32, 96), 17 * len(rows) + 20)
    return Size(long + 12, 15 * len(rows) + 4) if rows else Size(10, 8)
