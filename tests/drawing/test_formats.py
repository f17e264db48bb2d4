"""Every format of a drawing: as it was looked at and found good, and safe whatever the names are."""

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayline.drawing.diagram import Diagram, Line, Node
from relayline.drawing.dot import as_dot
from relayline.drawing.mermaid import as_mermaid
from relayline.drawing.svg import as_svg
from relayline.drawing.text import as_text
from tests.drawing.teams import FORMATS, GOLDEN, diagrams

ROOT = Path(__file__).parents[2]
DRAWN = diagrams()
SVG = "{http://www.w3.org/2000/svg}"

texts = st.text(st.characters(), max_size=30) | st.sampled_from(
    [
        '"',
        "\\",
        '\\"',
        "\\N",
        "]]>",
        "--> b",
        "<!--",
        "&#34;",
        "<br>",
        "%%{init}%%",
        "\u202e",
        "\ud800",
        "\ufffe",
        "%",
        "]|;{}",
    ]
)


@st.composite
def hostile(draw: st.DrawFn) -> Diagram:
    """A diagram whose every word is somebody else's."""
    names = draw(st.lists(texts.filter(str.strip), min_size=1, max_size=5, unique=True))
    kinds = st.sampled_from(["agent", "person", "step", "gone"])
    nodes = [
        Node(name, draw(kinds), draw(texts), draw(st.booleans()), draw(st.booleans()), (draw(texts),), draw(texts))
        for name in names
    ]
    ways = st.sampled_from(["chosen", "always", "back", "jump"])
    numbers = st.lists(st.integers(1, 99), max_size=9).map(tuple)
    lines = [
        Line(*pair, draw(ways), draw(texts), (draw(texts),), draw(st.booleans()), draw(st.booleans()), draw(numbers))
        for pair in draw(st.lists(st.tuples(st.sampled_from(names), st.sampled_from(names)), max_size=8))
        if pair[0] != pair[1]
    ]
    return Diagram(draw(texts), tuple(nodes), tuple(lines), ("1", draw(texts) + "1"), tuple(names))


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("name", DRAWN)
def test_a_drawing_is_the_one_that_was_looked_at(name: str, suffix: str):
    """Byte for byte; ``python -m tests.drawing.teams`` draws anew what is meant to change."""
    kept = (GOLDEN / f"{name}.{suffix}").read_text("utf-8")
    assert FORMATS[suffix](DRAWN[name]) + "\n" == kept


def test_the_picture_in_the_pages_is_that_of_the_team_beside_it():
    """What a reader sees is what the code there draws."""
    page = (ROOT / "docs" / "how-to" / "draw.md").read_text("utf-8")
    code = re.search(r'^```python title="front_desk.py"\n(.*?)^```$', page, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(code[1] if code else "", names)  # noqa: S102  our own page
    assert names["team"].to_svg() + "\n" == (ROOT / "docs" / "images" / "desk.svg").read_text("utf-8")


@given(hostile())
def test_a_picture_is_xml_that_can_do_nothing(diagram: Diagram):
    """Whatever the words are, there are shapes and words in it, no script, no link, and nothing that acts."""
    root = ElementTree.fromstring(as_svg(diagram))
    allowed = {"svg", "title", "desc", "style", "rect", "text", "g", "path", "polygon", "circle"}
    assert {each.tag.removeprefix(SVG) for each in root.iter()} <= allowed
    attributes = {name for each in root.iter() for name in each.attrib}
    assert not {name for name in attributes if name.startswith("on") or "href" in name}
    boxes = [each for each in root.iter(f"{SVG}g") if "node" in each.get("class", "").split()]
    assert len(boxes) == len(diagram.nodes)
    assert len(list(root.iter(f"{SVG}polygon"))) == sum(1 + line.both for line in diagram.lines)


@given(hostile())
def test_mermaid_is_told_what_was_meant(diagram: Diagram):
    """With what is between quotes taken out, each line is one of the few we write; between quotes are no signs."""
    head, *lines = as_mermaid(diagram).split("\n")
    assert head == "flowchart LR"
    ours = re.compile(
        r' {4}(a\d+(\(\["@"\]\)|\[\["@"\]\]|\{\{"@"\}\}|\[/"@"/\]|>"@"\]|\["@"\])'
        r'|a\d+ <?(-->|==>|-\.->)(\|"@"\|)? a\d+'
        r'|notes\["@"\]|style (notes|a\d+) [\w:,#-]+|linkStyle [\d,]+ stroke:#c2410c)'
    )
    for line in lines:
        quoted = re.findall(r'"([^"]*)"', line)
        assert all(re.fullmatch(r"(<br>|#\d+;|[^\W]|[ .,:;\-/'()?!])*", words) for words in quoted)
        assert ours.fullmatch(re.sub(r'"[^"]*"', '"@"', line)), line
    assert len([line for line in lines if re.match(r" {4}a\d+ ", line)]) == len(diagram.lines)


@given(hostile())
def test_graphviz_is_told_what_was_meant(diagram: Diagram):
    """With the strings taken out as Graphviz reads them, each line is one of the few we write."""
    lines = re.sub(r'"(?:[^"\\]|\\.)*"', "@", as_dot(diagram), flags=re.DOTALL).split("\n")
    ours = re.compile(r"digraph @ \{|\}|    (graph|node|edge|a\d+|a\d+ -> a\d+) \[([\w]+=(@|\w+)(, )?)*\]")
    assert all(ours.fullmatch(line) for line in lines), lines
    assert len([line for line in lines if " -> " in line]) == len(diagram.lines)


@given(hostile())
def test_words_stay_on_their_line(diagram: Diagram):
    """A paragraph for each node and a line for each way: no name can pretend to be another line."""
    text = as_text(diagram)
    ways = sum(1 + line.both for line in diagram.lines)
    assert text.count("\n") == len(diagram.notes) + sum(2 + len(node.notes) for node in diagram.nodes) + ways + 2
    assert text.isprintable() or all(each.isprintable() or each in "\n\u200c\u200d" for each in text)


def test_two_of_one_kind_of_way_are_told_apart():
    """What a model chooses, what is always taken, what is not always open and what goes back each look different."""
    nodes = (Node("a", start=True), Node("b", end=True))
    kinds = [Line("a", "b"), Line("a", "b", "always"), Line("a", "b", guarded=True), Line("b", "a", "back")]
    for suffix in ("mmd", "dot", "txt"):
        drawn = {FORMATS[suffix](Diagram("t", nodes, (line,))) for line in kinds}
        assert len(drawn) == (3 if suffix == "txt" else 4), suffix  # in words a guard is one of its terms
    pictures = [re.findall(r'class="(line [\w ]+)"', as_svg(Diagram("t", nodes, (line,)))) for line in kinds]
    assert pictures == [["line chosen"], ["line always"], ["line chosen guarded"], ["line back"]]
