"""A diagram for Mermaid, which Markdown on many sites draws."""

from collections.abc import Iterator, Sequence

from relayline.drawing.diagram import MARKS, Diagram, Line, Node
from relayline.drawing.words import counted, one_line

_SHAPES = {
    "start": ("([", "])"),
    "end": ("[[", "]]"),
    "person": ("{{", "}}"),
    "hub": ("((", "))"),
    "step": ("[/", "/]"),
    "team": ("[/", "\\]"),
    "gone": (">", "]"),
}
_ARROWS = {"chosen": "-->", "always": "==>", "tested": "-.->", "joined": "==>", "back": "-.->", "jump": "-.->"}


def as_mermaid(diagram: Diagram) -> str:
    """A flowchart: the start rounded, ends doubly framed, people as hexagons, functions slanted, teams wide below.

    A thick line is taken whenever its source is done, a dotted one goes back or is not always open; any other is the
    source's choice.
    """
    ids = {node.name: f"a{number}" for number, node in enumerate(diagram.nodes)}
    lines = ["flowchart LR"]
    lines += [f"    {ids[node.name]}{_shape(node)}" for node in diagram.nodes]
    lines += [f"    {ids[line.source]} {_arrow(line)} {ids[line.target]}" for line in diagram.lines]
    if diagram.notes:
        lines.append(f'    notes["{_lines(diagram.notes)}"]')
        lines.append("    style notes fill:none,stroke:none")
    return "\n".join([*lines, *_marks(diagram, ids)])


def _marks(diagram: Diagram, ids: dict[str, str]) -> Iterator[str]:
    for node in diagram.nodes:
        if node.here:
            yield f"    style {ids[node.name]} stroke:#c2410c,stroke-width:4px"
    taken = ",".join(str(number) for number, line in enumerate(diagram.lines) if line.steps)
    if taken:
        yield f"    linkStyle {taken} stroke:#c2410c"


def _shape(node: Node) -> str:
    if node.kind == "hub":
        left, right = _SHAPES["hub"]
        return f'{left}"{_lines([node.about, *(["start"] if node.start else [])])}"{right}'
    kind = node.kind if node.kind != "agent" else "start" if node.start else "end" if node.end else ""
    left, right = _SHAPES.get(kind, ("[", "]"))
    # The words say what the shape has no room for.
    marks = [
        mark
        for mark, holds in (
            (MARKS.get(node.kind, ""), node.kind in MARKS),
            ("start", node.start and kind != "start"),
            ("end", node.end and kind not in ("end", "gone")),
        )
        if holds
    ]
    here = [f"here: {node.here}"] if node.here else []
    return f'{left}"{_lines([node.name, *filter(None, [", ".join(marks)]), *node.notes, *here])}"{right}'


def _arrow(line: Line) -> str:
    terms = f"({', '.join(line.terms)})" if line.terms else ""
    taken = f"[{counted(line.steps)}]" if line.steps else ""
    about = " ".join(filter(None, [taken, line.label, terms]))
    arrow = "-.->" if line.guarded and line.way == "chosen" else _ARROWS[line.way]
    return ("<" if line.both else "") + arrow + (f'|"{label(about)}"|' if about else "")


def _lines(texts: Sequence[str]) -> str:
    return "<br>".join(map(label, texts))


def label(text: str) -> str:
    """Text as Mermaid takes it between quotes: its own signs as entities, which are written with a # there."""
    return "".join(each if each.isalnum() or each in " .,:;-_/'()?!" else f"#{ord(each)};" for each in one_line(text))
