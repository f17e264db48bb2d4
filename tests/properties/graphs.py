"""Random worlds of the patterns in which several may speak at once: drawn graphs, with whoever is in them.

What everybody does follows from the seed and from the way that led there, never from who was faster.
"""

import random
from dataclasses import replace

from hypothesis import strategies as st

from relayline.events import Asked
from relayline.machine.decide import Machine
from relayline.machine.effects import CallModel, Effect, Inside, Judge, RunTool
from relayline.machine.graph import Graph
from relayline.machine.groupchat import GroupChat
from relayline.machine.inputs import (
    Answer,
    Approval,
    EffectFailed,
    FromTeam,
    Input,
    Judged,
    OutcomeTold,
    Response,
    Told,
    ToolDone,
    Wondered,
    Words,
)
from relayline.machine.limits import Limits
from relayline.machine.state import State
from relayline.machine.topology import Edge, ToolPolicy
from relayline.messages import user
from tests.properties.worlds import TOOLS, World

NAMES = ("ann", "bob", "cy", "dee", "eve", "fay")


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """One to six nodes: any edges forward, guarded or not, some ways back, and nodes that wait for several."""
    names = NAMES[: draw(st.integers(1, 6))]
    starts = tuple(draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True)))
    edges: list[Edge] = []
    for place, target in enumerate(names):
        sources = draw(st.lists(st.sampled_from(names[:place]), unique=True, max_size=3)) if place else []
        joins = len(sources) > 1 and draw(st.booleans())
        edges += [Edge(each, target, always=True, guarded=draw(st.booleans()), joins=joins) for each in sorted(sources)]
    waiting = {edge.target for edge in edges if edge.joins}
    back = [(s, t) for n, s in enumerate(names) for t in names[:n] if t not in waiting]
    if back and draw(st.booleans()):
        edges += [Edge(*draw(st.sampled_from(back)), always=True, guarded=True)]
    return Graph(starts, names, tuple(edges), partial=draw(st.booleans()))


@st.composite
def teams(draw: st.DrawFn) -> Machine:
    """A graph with agents that have tools, functions that may be cut off or ask, people, and reviews."""
    graph = draw(graphs())
    kinds = {name: draw(st.sampled_from(["agent", "agent", "function", "sure", "person"])) for name in graph.agents}
    agents = [name for name, kind in kinds.items() if kind == "agent"]
    policies = {
        name: draw(st.fixed_dictionaries({}, optional={key: st.just(tool) for key, tool in TOOLS.items()}))
        if kinds[name] == "agent"
        else {}
        for name in graph.agents
    }
    reviewed = frozenset(draw(st.lists(st.sampled_from(agents), max_size=2)) if agents else [])
    return Machine(
        "drawn",
        graph,
        policies,
        "f",
        limits=Limits(misses=draw(st.integers(1, 4))),
        people=frozenset(name for name, kind in kinds.items() if kind == "person"),
        functions={
            name: ToolPolicy(repeatable=kinds[name] == "sure") for name in kinds if kinds[name] in ("function", "sure")
        },
        reviewed=reviewed,
    )


@st.composite
def chats(draw: st.DrawFn) -> Machine:
    """A group chat: in turn, by a function, or by an agent that gives the word."""
    members = NAMES[: draw(st.integers(1, 4))]
    how = draw(st.sampled_from(["in turn", "function", "agent"]))
    chat = GroupChat(members, "max" if how == "agent" else "", how == "function", draw(st.integers(1, 6)))
    kinds = {name: draw(st.sampled_from(["agent", "agent", "sure", "function"])) for name in members}
    names = [*members, "max"] if how == "agent" else list(members)
    policies = {name: TOOLS if draw(st.booleans()) and kinds.get(name, "agent") == "agent" else {} for name in names}
    return Machine(
        "chat",
        chat,
        policies,
        "f",
        draw(st.booleans()),
        Limits(hops=None, cycles=True, misses=2),
        functions={name: ToolPolicy(repeatable=kind == "sure") for name, kind in kinds.items() if kind != "agent"},
    )


class Drawn(World):
    """A play of such a team. ``failing``: models and functions fail, for good where the others go on without them."""

    def key(self, number: int) -> str:
        """The turn, by the way that led to it."""
        turn = self.state.open.get(number) or (self.state.ended[number].turn if number in self.state.ended else None)
        return turn.key if turn else f"t{number}"

    def perform(self, effect: Effect) -> Input:
        match effect:
            case Judge(id, number):
                state = self.state
                turn = state.ended[number].turn if number else state.due and state.due.turn
                chance = self.chance(
                    "ways", self.key(turn.number) if turn else "", len(state.transcript) if not number else 0
                )
                if isinstance(self.machine.pattern, GroupChat):
                    named = chance.choice([*self.machine.pattern.agents, None])
                    return Judged(id, stop=chance.random() < 0.05, ways=frozenset([named] if named else []))
                onward = self.machine.pattern.onward(turn.agent if turn else "")
                return Judged(id, stop=False, ways=frozenset(edge.target for edge in onward if chance.random() < 0.4))
            case RunTool(id, number, agent) if agent in self.machine.functions:
                return self.function(id, number)
            case _:
                return super().perform(effect)

    def function(self, effect: str, number: int) -> Input:
        self.ran.append(effect)
        chance = self.chance("function", effect)
        answers = self.state.open[number].part.answers
        questions = chance.choice([0, 0, 0, 1, 2])
        if len(answers) < questions:
            return Wondered(effect, {"question": len(answers)}, None, "odd" if answers == ("odd",) else "")
        if self.fails(number) and chance.random() < 0.15:
            return EffectFailed(effect, "ValueError", "it cannot be")
        values = {"last": effect} if chance.random() < 0.1 else {}
        return ToolDone(effect, f"{effect} returned {list(answers)}", "done", values)

    def model(self, effect: CallModel) -> Input:
        if self.fails(effect.turn) and self.chance("fails", effect.id).random() < 0.1:
            return EffectFailed(effect.id, "Overloaded", "try later", model=True)
        failing, self.failing = self.failing, False
        try:
            return super().model(effect)
        finally:
            self.failing = failing

    def fails(self, number: int) -> bool:
        """Whether the others would go on without this turn."""
        return bool(self.failing and self.machine.pattern.partial and self.state.open[number].lane)

    def answer(self) -> bool:
        """Answer whatever somebody cares to answer; what one person does not depend on the others."""
        for asked in sorted(self.state.requests.values(), key=lambda each: each.ask != "outcome"):
            response = self.person(asked)
            if response is not None:
                self.commit(Answer(asked.request, response))
                return True
        return False

    def person(self, asked: Asked) -> Response | None:
        key = self.key(asked.turn)
        chance = self.chance("person", asked.ask, key, asked.call and asked.call.id, self.told(asked))
        if asked.ask == "outcome":
            return OutcomeTold(None)
        if chance.random() < 0.1:
            return None
        match asked.ask:
            case "user_input":
                return Words((user(f"answer, {key}"),))
            case "info":
                return Told({"told": key})
            case "review":
                return Approval(approved=True) if chance.random() < 0.7 else Words((user(f"again, {key}"),))
            case "reply":
                return self.colleague(asked, random.Random(1))
            case _:
                return Approval(chance.random() < 0.6, "so there")

    def told(self, asked: Asked) -> int:
        turn = self.state.open.get(asked.turn)
        return len(turn.part.answers) if turn else 0


@st.composite
def nests(draw: st.DrawFn) -> Machine:
    """A team in which some members are teams, drawn or discussing, and in them some are as well."""
    machine = draw(teams())
    for depth in range(draw(st.integers(1, 2))):
        inner = machine
        machine = draw(teams())
        chosen = [name for name in machine.pattern.agents if draw(st.booleans())][:2] or [machine.pattern.agents[0]]
        machine = replace(
            machine,
            teams={name: replace(inner, name=f"{name}{depth}") for name in chosen},
            policies={name: {} if name in chosen else tools for name, tools in machine.policies.items()},
            functions={name: each for name, each in machine.functions.items() if name not in chosen},
            people=machine.people - set(chosen),
            reviewed=machine.reviewed - set(chosen),
        )
    return machine


class Deep(Drawn):
    """A play of teams in teams: what is inside is done as it would be there, by a way that begins with the turn's."""

    def inside(self, machine: Machine, state: State, key: str) -> "Deep":
        world = Deep(machine, 0, failing=self.failing)
        # What happens inside follows from the way there, too.
        world.seed, world.state, world.calls, world.ran = f"{self.seed} {key}", state, self.calls, self.ran
        return world

    def perform(self, effect: Effect) -> Input:
        if not isinstance(effect, Inside):
            return super().perform(effect)
        turn = self.state.open[effect.turn]
        inner = self.inside(self.machine.teams[effect.agent], turn.part.inner, turn.key)
        return FromTeam(effect.turn, inner.perform(effect.effect))

    def answer(self) -> bool:
        """Here, or wherever somebody inside cares to."""
        if super().answer():
            return True
        return self.answer_inside(self.state, self.machine, self, "")

    def answer_inside(self, state: State, machine: Machine, world: "Deep", prefix: str) -> bool:
        for turn in state.open.values():
            if turn.part.inner is None:
                continue
            inner = world.inside(machine.teams[turn.agent], turn.part.inner, turn.key)
            for asked in sorted(turn.part.inner.requests.values(), key=lambda each: each.ask != "outcome"):
                response = inner.person(asked)
                if response is not None:
                    self.commit(Answer(f"{prefix}t{turn.number}.{asked.request}", response))
                    return True
            if self.answer_inside(turn.part.inner, inner.machine, inner, f"{prefix}t{turn.number}."):
                return True
        return False
