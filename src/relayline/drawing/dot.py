"""A diagram for Graphviz."""

from collections.abc import Mapping, Sequence

from relayline.drawing.diagram import MARKS, Diagram, Line, Node
from relayline.drawing.words import counted, one_line, wrapped

_SHAPES = {"person": "hexagon", "hub": "circle", "step": "parallelogram", "team": "folder", "gone": "note"}
_STYLES = {
    "chosen": "solid",
    "always": "bold",
    "tested": "dashed",
    "joined": "bold",
    "back": "dashed",
    "jump": "dotted",
}
_TAKEN = "#c2410c"


def as_dot(diagram: Diagram) -> str:
    """A digraph from left to right: the start in bold, ends doubly framed, people as hexagons."""
    ids = {node.name: f"a{number}" for number, node in enumerate(diagram.nodes)}
    heading = "\\l".join([*map(_escaped, (diagram.title, *diagram.notes)), ""])
    return "\n".join(
        [
            f"digraph {_quoted([diagram.title])} {{",
            f'    graph [rankdir=LR, labelloc=t, labeljust=l, fontname="sans-serif", label="{heading}"]',
            '    node [shape=box, style=rounded, fontname="sans-serif"]',
            '    edge [fontname="sans-serif", fontsize=11]',
            *(f"    {ids[node.name]} [{_attributes(_node(node))}]" for node in diagram.nodes),
            *(f"    {ids[line.source]} -> {ids[line.target]} [{_attributes(_edge(line))}]" for line in diagram.lines),
            "}",
        ]
    )


def _node(node: Node) -> Mapping[str, str]:
    here = [f"here: {node.here}"] if node.here else []
    marks = [
        mark
        for mark, holds in (
            (MARKS.get(node.kind, ""), node.kind in MARKS),
            ("start", node.start),
            ("end", node.end),
        )
        if holds
    ]
    words = [node.name or node.about, *filter(None, [", ".join(marks)]), *node.notes, *here]
    found = {"label": _quoted(words)}
    if node.kind in _SHAPES:
        found |= {"shape": _SHAPES[node.kind], "style": "solid"}
    if node.start:
        found["style"] = '"rounded,bold"' if node.kind == "agent" else "bold"
    if node.end:
        found["peripheries"] = "2"
    if node.here:
        found |= {"color": f'"{_TAKEN}"', "penwidth": "3"}
    return found


def _edge(line: Line) -> Mapping[str, str]:
    found: dict[str, str] = {}
    taken = [f"[{counted(line.steps)}]"] if line.steps else []
    terms = [f"({', '.join(line.terms)})"] if line.terms else []
    if words := [*taken, *wrapped(line.label, 30, 6), *terms]:
        found["label"] = _quoted(words)
    style = "dashed" if line.guarded and line.way == "chosen" else _STYLES[line.way]
    if style != "solid":
        found["style"] = style
    if line.way == "joined":
        found["arrowhead"] = "box"
    if line.both:
        found["dir"] = "both"
    if line.steps:
        found["color"] = f'"{_TAKEN}"'
    return found


def _attributes(given: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={value}" for name, value in given.items())


def _quoted(lines: Sequence[str]) -> str:
    return '"' + "\\n".join(map(_escaped, lines)) + '"'


def _escaped(text: str) -> str:
    """Text between quotes: a backslash begins a code of Graphviz, and an ampersand an entity."""
    return one_line(text).replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;")
