"""Where nodes and words are put: on nothing else, whatever the team looks like."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from relayline.drawing.layers import Arc, Layout, Size, laid_out

GAP = Size(30, 10)
sizes = st.builds(Size, st.integers(1, 300), st.integers(1, 200))


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[Size], list[Arc]]:
    """2 to 12 nodes, and arcs between them: circles, pairs, and several alike."""
    nodes = draw(st.lists(sizes, min_size=2, max_size=12))
    ends = st.integers(0, len(nodes) - 1)
    pairs = draw(st.lists(st.tuples(ends, ends).filter(lambda pair: pair[0] != pair[1]), max_size=20))
    return nodes, [Arc(*pair, draw(sizes)) for pair in pairs]


def corners(layout: Layout, number: int) -> tuple[float, float, float, float]:
    item = layout.items[number]
    along, across = item.size.along / 2, item.size.across / 2
    return item.along - along, item.across - across, item.along + along, item.across + across


@given(graphs(), st.sampled_from([-0.5, 0.5]))
def test_nothing_lies_on_anything_else(graph: tuple[list[Size], list[Arc]], grip: float):
    """No node on a node, no label on a label or a node, in any team."""
    nodes, arcs = graph
    layout = laid_out(nodes, arcs, grip, GAP)
    boxes = [*range(len(nodes)), *(route.label for route in layout.routes)]
    for one, other in combinations(boxes, 2):
        a, b = corners(layout, one), corners(layout, other)
        assert a[2] <= b[0] + 1e-6 or b[2] <= a[0] + 1e-6 or a[3] <= b[1] + 1e-6 or b[3] <= a[1] + 1e-6


@given(graphs())
def test_every_arc_goes_down_layer_by_layer(graph: tuple[list[Size], list[Arc]]):
    """From the one end to the other, through every layer between; an arc against the stream is known as turned."""
    nodes, arcs = graph
    layout = laid_out(nodes, arcs, 0.5, GAP)
    for arc, route in zip(arcs, layout.routes, strict=True):
        ends = (route.items[0], route.items[-1])
        assert ends == ((arc.target, arc.source) if route.turned else (arc.source, arc.target))
        layers = [layout.items[each].layer for each in route.items]
        assert layers == list(range(layers[0], layers[-1] + 1))
        assert layout.items[route.label].size == arc.label


def test_a_line_of_agents_is_straight():
    """Who stands alone in a layer stands under its only neighbour."""
    layout = laid_out([Size(50, 40)] * 4, [Arc(at, at + 1, Size(0, 4)) for at in range(3)], 0, GAP)
    assert len({round(item.across, 3) for item in layout.items}) == 1


def test_neighbours_are_sorted_so_that_lines_do_not_cross():
    """The second layer is put in the order of the first."""
    arcs = [Arc(*pair, Size(0, 4)) for pair in ((0, 3), (0, 1), (1, 4), (0, 2), (2, 3))]
    layout = laid_out([Size(50, 40)] * 5, arcs, 0, GAP)
    one, two, three, four = (layout.items[number].across for number in (1, 2, 3, 4))
    assert (one < two) == (four < three)
