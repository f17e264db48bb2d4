"""A diagram as a picture: SVG that needs nothing, not even a font."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple
from xml.sax.saxutils import escape

from relayline.drawing.diagram import Diagram, Line, Node
from relayline.drawing.layers import Arc, Layout, Size, laid_out
from relayline.drawing.paint import FIGURE, LEGEND, STYLE, Row, marked, marks_of, room, rows_of_line, rows_of_node
from relayline.drawing.words import one_line, wrapped
from relayline.drawing.words import width as columns

MARGIN = 24.0
GAP = Size(along=36, across=14)
TITLE = 34.0
ARROW, THICK = 8.0, 12.0
"""How long an arrowhead is; it has to be seen at the end of a thick line too."""
COLUMNS = 100
"""How wide a sentence under the picture may be."""


class Box(NamedTuple):
    """A node where it stands: its upper left corner and its size."""

    x: float
    y: float
    width: float
    height: float


class Sheet(NamedTuple):
    """The diagram in one of the two directions. ``down``: from top to bottom; else from left to right."""

    layout: Layout
    down: bool
    width: float
    height: float


def as_svg(diagram: Diagram) -> str:
    """A picture with a light and a dark face, from left to right or top to bottom: whichever is the less long."""
    sheet = min((_sheet(diagram, down) for down in (False, True)), key=lambda each: max(each.width, each.height * 1.2))
    foot = list(_foot(diagram))
    words = max((columns(row.text) for row in foot), default=0) * 6.4
    title = next(iter(wrapped(diagram.title, COLUMNS, 1)), "")
    width = max(sheet.width, words, columns(title) * 9) + 2 * MARGIN
    top = MARGIN + TITLE
    height = top + sheet.height + MARGIN + len(foot) * 18 + MARGIN / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" role="img" aria-labelledby="title desc">',
        f'<title id="title">{_words(diagram.title)}</title>',
        f'<desc id="desc">{_words(_described(diagram))}</desc>',
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{width:.0f}" height="{height:.0f}"/>',
        f'<text class="title" x="{MARGIN:.0f}" y="{MARGIN + 12:.0f}">{_words(title)}</text>',
        f'<g transform="translate({MARGIN + (width - 2 * MARGIN - sheet.width) / 2:.1f} {top:.1f})">',
        *_lines(diagram, sheet),
        *_nodes(diagram, sheet),
        "</g>",
        *_text(foot, MARGIN, top + sheet.height + MARGIN + 8, "start"),
        "</svg>",
    ]
    return "\n".join(parts)


def _described(diagram: Diagram) -> str:
    """The picture for who cannot see it: which way leads where."""
    about = {node.name: node.about for node in diagram.nodes if node.kind == "hub"}
    ways = [
        f"{about.get(line.source, line.source)} {'and' if line.both else 'to'} {line.target}" for line in diagram.lines
    ]
    return f"{', '.join(node.name for node in diagram.nodes if node.name)}. Ways: {'; '.join(ways) or 'none'}."


def _sheet(diagram: Diagram, down: bool) -> Sheet:
    def turn(size: Size) -> Size:
        return Size(size.across, size.along) if down else size

    numbers = {node.name: number for number, node in enumerate(diagram.nodes)}
    nodes = [turn(room(rows_of_node(node, _own(diagram, node)), node)) for node in diagram.nodes]
    arcs = [Arc(numbers[line.source], numbers[line.target], turn(room(rows_of_line(line)))) for line in _apart(diagram)]
    layout = laid_out(nodes, arcs, -0.5 if down else 0.5, GAP)
    items = layout.items
    first = min(item.across - item.size.across / 2 for item in items)
    for item in items:
        item.across -= first
    across = max(item.across + item.size.across / 2 for item in items)
    along = layout.depths[-1][1]
    return Sheet(layout, down, *((across, along) if down else (along, across)))


def _apart(diagram: Diagram) -> list[Line]:
    """The lines from one node to another, as the layout has them."""
    return [line for line in diagram.lines if line.source != line.target]


def _own(diagram: Diagram, node: Node) -> list[Line]:
    return [line for line in diagram.lines if line.source == line.target == node.name]


def _box(sheet: Sheet, number: int) -> Box:
    item = sheet.layout.items[number]
    along, across = item.along - item.size.along / 2, item.across - item.size.across / 2
    if sheet.down:
        return Box(across, along, item.size.across, item.size.along)
    return Box(along, across, item.size.along, item.size.across)


def _nodes(diagram: Diagram, sheet: Sheet) -> Iterator[str]:
    for number, node in enumerate(diagram.nodes):
        box = _box(sheet, number)
        yield f'<g class="node {node.kind}{" here" if node.here else ""}">'
        yield from _frame(node, box)
        own = _own(diagram, node)
        rows = rows_of_node(node, own)
        middle = box.x + (box.width + (FIGURE if node.kind == "person" else 0)) / 2
        yield from _text(rows, middle, box.y + (box.height - 17 * len(rows)) / 2 + 13, "middle")
        yield from _marks(node, box)
        yield "</g>"
        yield from _loops(own, box)


def _loops(own: Sequence[Line], box: Box) -> Iterator[str]:
    """Lines from a box to itself, below its right corner."""
    y = box.y + box.height
    for number, line in enumerate(own):
        x = box.x + box.width - 34 - 22 * number
        yield f'<g class="line {" ".join(_kinds(line))}">'
        yield f'<path d="M{x:.1f} {y:.1f}c0 15 18 15 18 0"/>'
        yield _head((x + 18, y), ARROW, down=True, on=False)
        yield "</g>"


def _frame(node: Node, box: Box) -> Iterator[str]:
    corner = box.height / 2 if node.kind in ("person", "hub") else 0 if node.kind == "step" else 8
    if node.kind == "team":  # others stand behind it
        yield _rect("frame", Box(box.x + 5, box.y + 5, box.width, box.height), corner)
    yield _rect("frame", box, min(corner, 24))
    if node.end:
        yield _rect("inner", Box(box.x + 3.5, box.y + 3.5, box.width - 7, box.height - 7), max(min(corner, 24) - 3, 5))
    if node.kind == "person":  # a head and shoulders
        x, y = box.x + 20, box.y + box.height / 2
        yield f'<circle class="body" cx="{x:.1f}" cy="{y - 5:.1f}" r="4"/>'
        yield f'<path class="body" d="M{x - 7:.1f} {y + 8:.1f}a7 7 0 0 1 14 0z"/>'


def _marks(node: Node, box: Box) -> Iterator[str]:
    for mark, x, wide in marks_of(node):
        yield _rect(f"mark {mark}", Box(box.x + x, box.y - 8, wide, 16), 8)
        yield from _text([Row(f"mark {mark}", mark)], box.x + x + wide / 2, box.y + 3.5, "middle")


def _rect(kind: str, box: Box, corner: float) -> str:
    return (
        f'<rect class="{kind}" x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" '
        f'rx="{corner:.1f}"/>'
    )


def _lines(diagram: Diagram, sheet: Sheet) -> Iterator[str]:
    ports = _ports(diagram, sheet)
    for number, line in enumerate(_apart(diagram)):
        points = _points(sheet, number, ports)
        turned = sheet.layout.routes[number].turned
        yield f'<g class="line {" ".join(_kinds(line))}">'
        yield f'<path d="{_curve(points, sheet.down)}"/>'
        size = THICK if line.way in ("always", "joined") else ARROW
        yield _head(points[0] if turned else points[-1], size, down=sheet.down, on=not turned)
        if line.way == "joined":
            yield _bar(points[0] if turned else points[-1], size, down=sheet.down, on=not turned)
        if line.both and line.source:
            yield _head(points[-1] if turned else points[0], size, down=sheet.down, on=turned)
        yield from _label(sheet, number, line)
        yield "</g>"


def _kinds(line: Line) -> list[str]:
    return [line.way, *(["guarded"] if line.guarded else []), *(["taken"] if line.steps else [])]


def _label(sheet: Sheet, number: int, line: Line) -> Iterator[str]:
    box = _box(sheet, sheet.layout.routes[number].label)
    rows = rows_of_line(line)
    if sheet.down:  # beside the line
        yield from _text(rows, box.x + 6, box.y + (box.height - 15 * len(rows)) / 2 + 11, "start", 15)
    else:  # on the line
        yield from _text(rows, box.x + box.width / 2, box.y + 11, "middle", 15)


Ports = dict[tuple[int, int], float]


def _ports(diagram: Diagram, sheet: Sheet) -> Ports:
    """Where each arc meets its two nodes: side by side, in the order of where they come from, and on no mark."""
    layout = sheet.layout
    ends: dict[tuple[int, bool], list[tuple[float, int]]] = {}
    for number, route in enumerate(layout.routes):
        ends.setdefault((route.items[0], True), []).append((layout.items[route.items[1]].line, number))
        ends.setdefault((route.items[-1], False), []).append((layout.items[route.items[-2]].line, number))
    ports: Ports = {}
    for (node, below), arcs in ends.items():
        item = layout.items[node]
        left, right = item.across - item.size.across / 2, item.across + item.size.across / 2
        first, last = left + 12, right - 12
        taken = left + marked(diagram.nodes[node]) + ARROW
        if sheet.down and not below and _between(first, last, 1, len(arcs)) < taken:
            first = taken - ARROW / 2
        for at, (_, number) in enumerate(sorted(arcs), 1):
            ports[node, number] = _between(first, last, at, len(arcs))
    return ports


def _between(first: float, last: float, at: int, several: int) -> float:
    """The place of one of several that are spread evenly."""
    return first + (last - first) * at / (several + 1)


def _points(sheet: Sheet, number: int, ports: Ports) -> list[tuple[float, float]]:
    """The points of an arc along the stream: two where it goes straight through a layer."""
    layout, route = sheet.layout, sheet.layout.routes[number]
    first, last = route.items[0], route.items[-1]
    source, target = layout.items[first], layout.items[last]
    found = [
        (source.along + source.size.along / 2, ports[first, number]),
        (layout.depths[source.layer][1], ports[first, number]),
    ]
    for each in route.items[1:-1]:
        item = layout.items[each]
        found += [(depth, item.line) for depth in layout.depths[item.layer]]
    found += [
        (layout.depths[target.layer][0], ports[last, number]),
        (target.along - target.size.along / 2, ports[last, number]),
    ]
    return [(across, along) if sheet.down else (along, across) for along, across in found]


def _curve(points: Sequence[tuple[float, float]], down: bool) -> str:
    path = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for (x, y), (to_x, to_y) in pairwise(points):
        half_x, half_y = (x + to_x) / 2, (y + to_y) / 2
        bends = (x, half_y, to_x, half_y) if down else (half_x, y, half_x, to_y)
        path.append(f"C{bends[0]:.1f} {bends[1]:.1f} {bends[2]:.1f} {bends[3]:.1f} {to_x:.1f} {to_y:.1f}")
    return "".join(path)


def _head(tip: tuple[float, float], size: float, *, down: bool, on: bool) -> str:
    """An arrowhead, ``on`` in the direction of the stream or against it.

    It is drawn as such because markers cannot take the colour of their line everywhere.
    """
    (x, y), half, back = tip, size / 2, -size if on else size
    if down:
        corners = f"{x - half:.1f},{y + back:.1f} {x + half:.1f},{y + back:.1f}"
    else:
        corners = f"{x + back:.1f},{y - half:.1f} {x + back:.1f},{y + half:.1f}"
    return f'<polygon points="{x:.1f},{y:.1f} {corners}"/>'


def _bar(tip: tuple[float, float], size: float, *, down: bool, on: bool) -> str:
    """A bar across the line, before its arrowhead."""
    (x, y), back, half = tip, -size - 4 if on else size + 4, ARROW
    if down:
        return f'<path d="M{x - half:.1f} {y + back:.1f}h{2 * half:.1f}"/>'
    return f'<path d="M{x + back:.1f} {y - half:.1f}v{2 * half:.1f}"/>'


def _foot(diagram: Diagram) -> Iterator[Row]:
    for note in diagram.notes:
        yield from (Row("note", each) for each in wrapped(note, COLUMNS, 3))
    if diagram.path:
        yield from (Row("steps", each) for each in wrapped("Path: " + " → ".join(diagram.path), COLUMNS, 4))
    kinds = {kind for line in diagram.lines for kind in _kinds(line)}
    if words := [words for kind, words in LEGEND.items() if kind in kinds]:
        yield Row("note", " · ".join(words))


def _text(rows: Sequence[Row], x: float, y: float, anchor: str, step: float = 17) -> Iterator[str]:
    for number, row in enumerate(rows):
        yield (
            f'<text class="{row.kind}" x="{x:.1f}" y="{y + number * step:.1f}" text-anchor="{anchor}">'
            f"{_words(row.text)}</text>"
        )


def _words(text: str) -> str:
    return escape(one_line(text), {'"': "&quot;", "'": "&#39;"})
