"""A graph in layers: which node stands in which, in what order, and where.

After Sugiyama, Tagawa and Toda (1981): lines that would go against the stream are turned round for the time being, the
longest way says which layer a node is in, a line through several layers has a point in each, and points are sorted by
where their neighbours are. Half of the layers are for labels, which are points with a size: so nothing overlaps.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

SWEEPS = 12
"""How often the layers are sorted, and placed, by their neighbours; more changes nothing that one can see."""

STRAIGHT = 4.0
"""How much more a line wants to be straight between two layers than a node to be in the middle of its neighbours."""


class Size(NamedTuple):
    """``along`` the stream, and ``across`` it."""

    along: float
    across: float


class Arc(NamedTuple):
    """A line between two nodes, by their numbers. ``label``: the room that its words need."""

    source: int
    target: int
    label: Size


@dataclass(slots=True)
class Item:
    """A node, or a point of an arc. ``grip``: where in its breadth lines meet it, from -0.5 to 0.5."""

    layer: int
    size: Size
    grip: float = 0.0
    along: float = 0.0
    across: float = 0.0
    before: list[int] = field(default_factory=list[int])
    after: list[int] = field(default_factory=list[int])

    @property
    def line(self) -> float:
        """Where lines meet it, across the stream."""
        return self.across + self.grip * self.size.across


class Route(NamedTuple):
    """The items an arc goes through, in the direction of the stream. ``turned``: the arc goes the other way."""

    items: Sequence[int]
    label: int
    turned: bool


class Layout(NamedTuple):
    """The nodes are the first items. ``depths``: where each layer begins and ends along the stream."""

    items: Sequence[Item]
    routes: Sequence[Route]
    depths: Sequence[tuple[float, float]]


def laid_out(nodes: Sequence[Size], arcs: Sequence[Arc], grip: float, gap: Size) -> Layout:
    """The nodes and arcs, placed; coordinates are of centres, and may be negative. ``grip``: of labels."""
    turned = _against(len(nodes), arcs)
    layers = _ranked(len(nodes), arcs, turned)
    items = [Item(layer, size) for layer, size in zip(layers, nodes, strict=True)]
    routes = [_route(items, arc, back, grip) for arc, back in zip(arcs, turned, strict=True)]
    rows = _sorted(items, _rows(items))
    _place(items, rows, gap.across)
    return Layout(items, routes, _depths(items, rows, gap.along))


def _against(count: int, arcs: Sequence[Arc]) -> list[bool]:
    """Which arcs lead back to where the search from the first node on came from."""
    exits: dict[int, list[int]] = {node: [] for node in range(count)}
    for number, arc in enumerate(arcs):
        exits[arc.source].append(number)
    state, found = dict.fromkeys(range(count), 0), [False] * len(arcs)

    def visit(node: int) -> None:
        state[node] = 1
        for number in exits[node]:
            target = arcs[number].target
            if state[target] == 1:
                found[number] = True
            elif state[target] == 0:
                visit(target)
        state[node] = 2

    # Breadth first would make flatter pictures, and would not say what a circle is.
    for node in range(count):
        if state[node] == 0:
            visit(node)
    return found


def _ranked(count: int, arcs: Sequence[Arc], turned: Sequence[bool]) -> list[int]:
    """The layer of each node: the longest way to it. Two for each arc, so that there is one for its label."""
    layers = [0] * count
    for _ in range(count):
        for arc, back in zip(arcs, turned, strict=True):
            source, target = (arc.target, arc.source) if back else (arc.source, arc.target)
            layers[target] = max(layers[target], layers[source] + 2)
    return layers


def _route(items: list[Item], arc: Arc, turned: bool, grip: float) -> Route:
    source, target = (arc.target, arc.source) if turned else (arc.source, arc.target)
    first, last = items[source].layer, items[target].layer
    middle, way = (first + last) // 2, [source]
    label = -1
    for layer in range(first + 1, last):
        if layer == middle:
            label = len(items)
            items.append(Item(layer, arc.label, grip))
        else:
            items.append(Item(layer, Size(0, 4)))
        way.append(len(items) - 1)
    way.append(target)
    for one, other in pairwise(way):
        items[one].after.append(other)
        items[other].before.append(one)
    return Route(way, label, turned)


def _rows(items: Sequence[Item]) -> list[list[int]]:
    """The items of each layer, in the order in which a walk from the first node meets them."""
    rows: list[list[int]] = [[] for _ in range(max((item.layer for item in items), default=-1) + 1)]
    seen: set[int] = set()
    for start in range(len(items)):
        waiting = [start]
        while waiting:
            number = waiting.pop()
            if number not in seen:
                seen.add(number)
                rows[items[number].layer].append(number)
                waiting += reversed(items[number].after)
    return rows


def _sorted(items: Sequence[Item], rows: list[list[int]]) -> list[list[int]]:
    """The order with the fewest crossings that some sweeps find."""
    best, fewest = rows, _crossings(items, rows)
    for sweep in range(SWEEPS):
        rows = [list(row) for row in rows]
        forth = sweep % 2 == 0
        for at in range(1, len(rows)) if forth else range(len(rows) - 2, -1, -1):
            place = {number: place for place, number in enumerate(rows[at - 1 if forth else at + 1])}
            rows[at].sort(key=_mean(items, rows[at], place, forth=forth).__getitem__)
        if (crossings := _crossings(items, rows)) < fewest:
            best, fewest = rows, crossings
    return best


def _mean(items: Sequence[Item], row: Sequence[int], place: Mapping[int, int], *, forth: bool) -> dict[int, float]:
    means: dict[int, float] = {}
    for at, number in enumerate(row):
        found = [place[each] for each in (items[number].before if forth else items[number].after)]
        means[number] = sum(found) / len(found) if found else float(at)
    return means


def _crossings(items: Sequence[Item], rows: Sequence[Sequence[int]]) -> int:
    place = {number: at for row in rows for at, number in enumerate(row)}
    total = 0
    for row in rows:
        ends = [(place[number], place[after]) for number in row for after in items[number].after]
        total += sum(
            (one[0] - other[0]) * (one[1] - other[1]) < 0 for at, one in enumerate(ends) for other in ends[:at]
        )
    return total


def _place(items: Sequence[Item], rows: Sequence[Sequence[int]], gap: float) -> None:
    for row in rows:
        _spread(items, row, [0.0] * len(row), gap)
    for sweep in range(SWEEPS * 2):
        for row in rows if sweep % 2 == 0 else reversed(rows):
            _spread(items, row, [_wished(items, items[number]) for number in row], gap)


def _wished(items: Sequence[Item], item: Item) -> float:
    """Where an item would be if it were alone: in the middle of its neighbours, or in line with them."""
    near = [items[each] for each in (*item.before, *item.after)]
    if not near:
        return item.across
    weights = [STRAIGHT if len(each.before) == len(each.after) == 1 else 1.0 for each in near]
    middle = sum(weight * each.line for weight, each in zip(weights, near, strict=True)) / sum(weights)
    return middle - item.grip * item.size.across


def _spread(items: Sequence[Item], row: Sequence[int], wishes: Sequence[float], gap: float) -> None:
    """Put the items of a layer as near to where they wish as their order and sizes let them.

    With the room before each item subtracted the places only have to ascend: the least squares are those of isotonic
    regression, by pooling neighbours that violate it.
    """
    room, offsets = 0.0, list[float]()
    for number in row:
        offsets.append(room + items[number].size.across / 2)
        room += items[number].size.across + gap
    pools: list[tuple[float, int]] = []
    for wish, offset in zip(wishes, offsets, strict=True):
        mean, count = wish - offset, 1
        while pools and pools[-1][0] >= mean:
            other, more = pools.pop()
            mean, count = (mean * count + other * more) / (count + more), count + more
        pools.append((mean, count))
    places = [mean for mean, count in pools for _ in range(count)]
    for number, place, offset in zip(row, places, offsets, strict=True):
        items[number].across = place + offset


def _depths(items: Sequence[Item], rows: Sequence[Sequence[int]], gap: float) -> list[tuple[float, float]]:
    depths: list[tuple[float, float]] = []
    begin = 0.0
    for row in rows:
        deep = max(items[number].size.along for number in row)
        depths.append((begin, begin + deep))
        for number in row:
            items[number].along = begin + deep / 2
        begin += deep + gap
    return depths
