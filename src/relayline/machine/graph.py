"""Who speaks next where that is drawn: one after the other, all at once, or along the edges of a graph."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from relayline.machine.lanes import before, in_order, in_sequence
from relayline.machine.limits import Objection
from relayline.machine.patterns import Branch, Route, Speak, Spread, Stop
from relayline.machine.state import Ended, State, Turn
from relayline.machine.topology import Edge, shortened


@dataclass(frozen=True, slots=True)
class Graph:
    """Each turn is followed by those that the edges from its agent lead to.

    ``starts``: who takes what the user says, all at once if they are several. ``steps``: how many turns one message of
    the user may take, None for any number. ``partial``: whether it goes on without one of several that fails; if not,
    the others still finish what they can.

    While several turns are open, none hears of another; what is said in them joins the conversation where the ways
    meet again: where one turn, or several at once, go on from all of them. That depends on the edges alone, and never
    on who was faster.
    """

    starts: tuple[str, ...]
    agents: tuple[str, ...]
    edges: tuple[Edge, ...] = ()
    steps: int | None = None
    partial: bool = False
    _onward: Mapping[str, Sequence[Edge]] = field(init=False, repr=False, compare=False)
    _sources: Mapping[str, Sequence[str]] = field(init=False, repr=False, compare=False)
    _often: frozenset[str] = field(init=False, repr=False, compare=False)
    _place: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        onward: dict[str, list[Edge]] = {agent: [] for agent in self.agents}
        sources: dict[str, list[str]] = {}
        for edge in self.edges:
            onward[edge.source].append(edge)
            if edge.joins:
                sources.setdefault(edge.target, []).append(edge.source)
        object.__setattr__(self, "_onward", onward)
        object.__setattr__(self, "_sources", sources)
        object.__setattr__(self, "_often", _often(self.starts, self.edges))
        object.__setattr__(self, "_place", {agent: place for place, agent in enumerate(self.agents)})

    def begin(self, state: State, ways: frozenset[str] = frozenset()) -> Route:
        del state, ways
        if len(self.starts) == 1:
            return Speak(self.starts[0])
        return Spread(tuple(Branch(agent) for agent in self.starts))

    def after(self, state: State, turn: Turn, ways: frozenset[str] = frozenset()) -> Route:
        targets = [edge.target for edge in self.onward(turn.agent) if not edge.guarded or edge.target in ways]
        objection = None
        failed = turn.number in state.ended and state.ended[turn.number].failed
        if failed and not self.partial:
            targets = []
        if targets and self.steps is not None and state.since.begun >= self.steps:
            objection, targets = Objection("step_budget", f"the team had its {self.steps} turns"), []
        begun, held = self._reached(state, turn, targets)
        number = turn.number if turn.lane or held else 0
        left = in_order(state.ended)
        busy = state.open or any(
            each.held is None and not each.joined and other != turn.number for other, each in state.ended.items()
        )
        if not begun and not busy:
            begun = self._met(state, turn, held)
        if not begun and not busy:
            objection = objection or self._unmet(state, held)
            if number or objection:
                return Spread((), number, held, joined=left, over=True, objection=objection)
            return Stop("terminal")
        if not busy and not self._waits(state, turn, held, begun):
            if all(len(before(state, each.after)) == len(left) for each in begun):
                return Spread(begun, number, joined=left, apart=len(begun) > 1)
        # Elsewhere something goes on, or did: what begins now stays apart, and knows only its own way.
        return Spread(self._keyed(state, turn, begun), number, held, objection=objection)

    def _met(self, state: State, turn: Turn, held: Sequence[str]) -> tuple[Branch, ...]:
        """The turns that begin where nothing else can come any more: each on the first of what waits for it."""
        waiting = [*state.ended.values(), Ended(turn, held=tuple(held))]
        found: list[Branch] = []
        for target, sources in self._sources.items():
            parts = [_first(waiting, source, target) for source in sources]
            if all(parts):
                found.append(Branch(target, tuple(parts)))
        return tuple(found)

    def _unmet(self, state: State, held: Sequence[str]) -> Objection | None:
        waiting = [target for each in state.ended.values() for target in each.held or ()]
        if not (met := [*waiting, *held]):
            return None
        sources = ", ".join(self._sources[met[0]])
        return Objection("never_met", f"{met[0]} waits for all of {sources}, and not all of them led to it")

    def _reached(self, state: State, turn: Turn, targets: Sequence[str]) -> tuple[tuple[Branch, ...], tuple[str, ...]]:
        """The turns that begin now, and who waits for more than this one."""
        begun: list[Branch] = []
        held: list[str] = []
        for target in targets:
            sources = self._sources.get(target, ())
            others = [0 if source == turn.agent else _first(state.ended.values(), source, target) for source in sources]
            parts = [turn.number if source == turn.agent else n for source, n in zip(sources, others, strict=True)]
            # Of several turns of one source, which is first may depend on who was faster; so those wait for the end.
            if all(parts) and not any(source in self._often for source in sources):
                begun.append(Branch(target, tuple(parts) or (turn.number,)))
            else:
                held.append(target)
        return tuple(begun), tuple(held)

    def _waits(self, state: State, turn: Turn, held: Sequence[str], begun: Sequence[Branch]) -> bool:
        """Whether what some turn came to is left waiting for others."""
        taken = {(number, each.agent) for each in begun for number in each.after}
        waiting = [(number, target) for number, each in state.ended.items() for target in each.held or ()]
        return any(each not in taken for each in [*waiting, *((turn.number, target) for target in held)])

    def _keyed(self, state: State, turn: Turn, begun: Sequence[Branch]) -> tuple[Branch, ...]:
        """With what their ids begin with, as their numbers depend on who was faster: the way that led to each."""
        keyed: list[Branch] = []
        for each in begun:
            first = state.ended.get(each.after[0])
            key = f"{first.turn.key if first else turn.key}x{self._place[each.agent]}"
            keyed.append(Branch(each.agent, each.after, shortened(key)))
        return tuple(keyed)

    def onward(self, agent: str) -> Sequence[Edge]:
        return self._onward.get(agent, ())

    def guarded(self, agent: str) -> bool:
        return any(edge.guarded for edge in self.onward(agent))

    def edge(self, agent: str, target: str) -> Edge | None:
        del agent, target
        return None

    def exits(self, agent: str) -> Mapping[str, Edge]:
        del agent
        return {}


def _often(starts: Sequence[str], edges: Sequence[Edge]) -> frozenset[str]:
    """Who may have more than one turn for one message of the user: where ways meet without waiting, and all after."""
    ways: dict[str, int] = dict.fromkeys(starts, 1)
    for edge in edges:
        once = edge.joins and edge.target not in starts
        ways[edge.target] = ways.get(edge.target, 0) + (0 if once else 1)
    found = {agent for agent, several in ways.items() if several > 1}
    more = found
    while more:
        more = {edge.target for edge in edges if edge.source in more} - found
        found |= more
    return frozenset(found)


def _first(ended: Iterable[Ended], source: str, target: str) -> int:
    """The first turn of ``source`` that waits at ``target``, in the conversation's order; 0: there is none."""
    found = [each.turn for each in ended if each.turn.agent == source and target in (each.held or ())]
    return in_sequence(found)[0].number if found else 0
