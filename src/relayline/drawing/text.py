"""A diagram in words: a node a paragraph, with the ways out of it."""

from collections.abc import Iterator

from relayline.drawing.diagram import MARKS, Diagram, Line, Node
from relayline.drawing.words import counted, one_line

_ARROWS = {"chosen": "->", "always": "=>", "tested": "?>", "joined": "&>", "back": "<-", "jump": "~>"}


def as_text(diagram: Diagram) -> str:
    """``->`` if the source chooses to take a way, ``=>`` if it is always taken, ``?>`` if code says so, ``&>`` once all
    are done that lead there like that, ``<-`` back to who asked.
    """
    hub = next((node for node in diagram.nodes if node.kind == "hub"), Node(""))
    everybody = ("start: " if hub.start else "") + hub.about
    head = [f"team {one_line(diagram.title)}", *map(one_line, filter(None, [everybody, *diagram.notes]))]
    paragraphs = ["\n".join(_paragraph(diagram, node)) for node in diagram.nodes if node.kind != "hub"]
    if diagram.path:
        paragraphs.append("path: " + " -> ".join(map(one_line, diagram.path)))
    return "\n\n".join(["\n".join(head), *paragraphs])


def _paragraph(diagram: Diagram, node: Node) -> Iterator[str]:
    steps = [number for line in diagram.lines if (line.source, line.target) == ("", node.name) for number in line.steps]
    terms = (
        (MARKS.get(node.kind, ""), node.kind in MARKS),
        ("start", node.start),
        ("end", node.end),
        (f"had the word: {counted(steps)}", steps),
        (f"here: {one_line(node.here)}", node.here),
    )
    marks = [mark for mark, holds in terms if holds]
    first = one_line(node.name) + (f" ({', '.join(marks)})" if marks else "")
    yield f"{first}: {one_line(node.about)}" if node.about else first
    yield from (f"  {one_line(note)}" for note in node.notes)
    for line in diagram.lines:
        if line.source == node.name:
            yield _way(line, line.target)
        elif line.both and line.source and line.target == node.name:
            yield _way(line, line.source)


def _way(line: Line, target: str) -> str:
    terms = f"({one_line(', '.join(line.terms))})" if line.terms else ""
    about = " ".join(filter(None, [one_line(line.label), terms]))
    taken = f" [{counted(line.steps)}]" if line.steps else ""
    return f"  {_ARROWS[line.way]} {one_line(target)}{taken}" + (f": {about}" if about else "")
