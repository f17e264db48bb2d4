"""Random worlds for the machine: teams, models, tools and people that do anything they are able to do.

Everything a world does follows from its seed and from what it is asked for, never from when: so the same world can be
played twice, in another order or with crashes, and must come to the same conversation.
"""

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import get_args

from hypothesis import strategies as st

from relayline.events import Asked, Cancelled, Fact, Stopped, Transfer
from relayline.journal.codec import decode, encode
from relayline.machine.decide import Machine
from relayline.machine.effects import CallModel, Effect, Judge, Reconcile, RunTool, effects
from relayline.machine.fold import fold
from relayline.machine.inputs import (
    Answer,
    Approval,
    Cancel,
    EffectFailed,
    Input,
    Judged,
    ModelReplied,
    Opened,
    OutcomeFound,
    OutcomeTold,
    Response,
    Resumed,
    Terminate,
    ToolDone,
    Turned,
    UserSaid,
    Words,
)
from relayline.machine.limits import Budget, Limits, OnLoop
from relayline.machine.patterns import Autonomy, Handoff
from relayline.machine.roster import fingerprint, roster, short
from relayline.machine.state import State
from relayline.machine.topology import Edge, ToolPolicy, mesh, tool_names
from relayline.messages import Message, Text, ToolCall, user

TOOLS = {
    "look": ToolPolicy(repeatable=True),
    "write": ToolPolicy(),
    "pay": ToolPolicy(approval=True),
    "sign": ToolPolicy(approval=True, repeatable=True),
    "post": ToolPolicy(reconcile=True),
    "wire": ToolPolicy(approval=True, reconcile=True),
}
ENOUGH = 400
"""Batches after which a world is left alone: models that only ever hand over would go on for ever."""


@st.composite
def machines(draw: st.DrawFn) -> Machine:
    """A team of one to four agents with any edges, any tools, and maybe a termination condition."""
    agents = tuple(["ann", "bob", "cy", "dee"][: draw(st.integers(1, 4))])
    every = mesh(agents)
    edges: tuple[Edge, ...] = every
    if every and draw(st.booleans()):
        edges = tuple(draw(st.lists(st.sampled_from(every), unique=True)))
    if every and draw(st.booleans()):
        terms = draw(st.lists(st.sampled_from(["approval", "caller", "start", "payload"]), min_size=len(edges)))
        edges = tuple(_termed(edge, term) for edge, term in zip(edges, terms, strict=False))
        onward = draw(st.lists(st.sampled_from(every), unique=True, max_size=3))
        edges += tuple(replace(edge, always=True, guarded=True) for edge in onward)
    policies = {
        agent: draw(st.fixed_dictionaries({}, optional={k: st.just(v) for k, v in TOOLS.items()})) for agent in agents
    }
    alone = draw(st.dictionaries(st.sampled_from(agents), st.builds(Autonomy, st.just("go on"), st.integers(0, 3))))
    pattern = Handoff(draw(st.sampled_from(agents)), agents, edges, draw(st.booleans()), alone)
    limits = draw(
        st.builds(
            Limits,
            hops=st.none() | st.integers(1, 5),
            cycles=st.booleans(),
            misses=st.integers(1, 4),
            on_loop=st.sampled_from(get_args(OnLoop)),
        )
    )
    budget = draw(st.builds(Budget, st.none() | st.integers(1, 6), st.none() | st.integers(10, 60)))
    people = frozenset(draw(st.lists(st.sampled_from(agents), max_size=1)) if draw(st.booleans()) else [])
    team = roster(policies, people, edges, pattern.start, {})
    return Machine(
        "world",
        pattern,
        policies,
        fingerprint(team),
        draw(st.booleans()),
        limits,
        budget,
        people,
        nudge=draw(st.booleans()),
        roster=short(team),
    )


def _termed(edge: Edge, term: str) -> Edge:
    match term:
        case "approval":
            return replace(edge, approval=True)
        case "payload":
            return replace(edge, payload=True)
        case _:
            return replace(edge, returns=term)  # type: ignore[arg-type]


@dataclass
class World:
    """One play: ``batches`` is the journal as it was appended.

    ``careless``: people may leave the question open what a crash did. ``silent``: tools may not know what they did.
    ``crashes``: after which batches the process dies. ``losses``: after which effects it dies before what came of them
    is appended; ``deaths``: in which it dies before they have done anything. ``releases``: after which batches it ends,
    and one with another team takes the session up. ``ledger``: what tools that can be asked
    have done, each time, by the id of the call. ``performances``: every effect that was begun, with the number of
    batches there were.
    """

    machine: Machine
    seed: int
    order: int = 0
    crashes: Collection[int] = ()
    losses: Collection[int] = ()
    deaths: Collection[int] = ()
    releases: Mapping[int, Machine] = field(default_factory=dict[int, Machine])
    failing: bool = True
    careless: bool = False
    silent: bool = False
    batches: list[list[Fact]] = field(default_factory=list[list[Fact]])
    state: State = field(default_factory=State)
    calls: list[tuple[CallModel, State]] = field(default_factory=list[tuple[CallModel, State]])
    ran: list[str] = field(default_factory=list[str])
    performed: int = 0
    ledger: dict[str, list[ToolDone]] = field(default_factory=dict[str, list[ToolDone]])
    performances: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])

    def chance(self, *what: object) -> random.Random:
        return random.Random(f"{self.seed} {what}")

    def play(self, rounds: int) -> "World":
        """Let the user say ``rounds`` things, and everybody do what they do in between."""
        for number in range(rounds):
            if len(self.batches) > ENOUGH:
                break
            self.commit(UserSaid(self.said(number)))
            self.settle()
        return self

    def said(self, number: int) -> Message:
        return user(f"message {number}")

    def settle(self) -> None:
        """Perform what is wanted and answer what is asked, until neither is left or the user loses patience."""
        shuffle = random.Random(f"{self.seed} {self.order}")
        while len(self.batches) <= ENOUGH:
            wanted = effects(self.state)
            if wanted:
                effect = shuffle.choice(wanted)
                self.performed += 1
                self.performances.append((effect.id, len(self.batches)))
                if self.performed in self.deaths:
                    self.crash()
                    continue
                outcome = self.perform(effect)
                if self.performed in self.losses and self.chance("cancelled", self.performed).random() < 0.2:
                    self.commit(Cancel())
                    self.crash()
                elif self.performed in self.losses:
                    self.crash()
                else:
                    self.commit(outcome)
            elif self.state.failure:
                if self.chance("gives up", self.state.failure.effect).random() < 0.3:
                    return
                self.commit(Resumed())
            elif isinstance(self.state.rest, Stopped | Cancelled):
                if self.failing and self.chance("goes on", len(self.state.transcript)).random() < 0.3:
                    return
                self.commit(Resumed())
            elif not self.answer():
                return

    def answer(self) -> bool:
        """Answer the oldest request, if the person cares to."""
        # First what a crash left unclear, as an uncrashed world has no such questions.
        for asked in sorted(self.state.requests.values(), key=lambda each: each.ask != "outcome"):
            response = self.person(asked)
            if response is None:
                return False
            self.commit(Answer(asked.request, response))
            return True
        return False

    def commit(self, given: Input) -> None:
        decision = self.machine.decide(self.state, given)
        if not decision.facts:
            return
        self.batches.append(decision.facts)
        self.state = decision.state
        if len(self.batches) in self.releases:
            self.machine = self.releases[len(self.batches)]
            self.crash()
        elif len(self.batches) in self.crashes:
            self.crash()

    def crash(self) -> None:
        """What is left of a process is what the disk holds; another one takes it up."""
        self.state = fold(decode(encode(fact)) for batch in self.batches for fact in batch)
        self.commit(Opened("world"))
        self.commit(Resumed())

    def perform(self, effect: Effect) -> Input:
        match effect:
            case CallModel():
                self.calls.append((effect, self.state))
                return self.model(effect)
            case RunTool():
                self.ran.append(effect.id)
                done = self.tool(effect)
                if TOOLS[effect.call.name].reconcile and done.outcome == "done":
                    self.ledger.setdefault(effect.id, []).append(done)
                return done
            case Reconcile():
                if not self.policy(effect).reconcile:
                    return OutcomeFound(effect.id, problem="it has no hook any more")
                if self.silent and self.chance("silent", effect.id).random() < 0.4:
                    return OutcomeFound(effect.id, problem="the ledger cannot be reached")
                return OutcomeFound(effect.id, next(iter(self.ledger.get(effect.call.id, [])), None))
            case Judge():
                # Not by the judgement's id: it counts facts, and a crash may add one.
                chance = self.chance("judge", len(self.state.transcript), self.state.turns)
                ways = frozenset(name for name in ("ann", "bob", "cy", "dee") if chance.random() < 0.4)
                return Judged(effect.id, stop=chance.random() < 0.1, ways=ways)

    def policy(self, effect: RunTool | Reconcile) -> ToolPolicy:
        return self.machine.policies.get(effect.agent, {}).get(effect.call.name, ToolPolicy())

    def tool(self, effect: RunTool) -> ToolDone:
        assert effect.call.name in self.machine.policies[effect.agent], "what is gone is not run"
        chance = self.chance("tool", effect.id)
        said = f"{effect.call.name} of {effect.id}"
        if chance.random() < 0.2:
            return ToolDone(effect.id, said, "error")
        values = {"last": effect.id} if chance.random() < 0.3 else {}
        removed = ("last",) if not values and chance.random() < 0.1 else ()
        wish = Transfer(chance.choice(["ann", "bob", "cy", "dee"]), "as the tool says")
        return ToolDone(effect.id, said, "done", values, removed, wish if chance.random() < 0.2 else None)

    def model(self, effect: CallModel) -> Input:
        chance = self.chance("model", effect.id)
        failures = sum(1 for call, _ in self.calls if call.id == effect.id)
        if self.failing and failures == 1 and chance.random() < 0.1:
            return EffectFailed(effect.id, "Overloaded", "try later")
        names = [*self.machine.policies[effect.agent], *self.machine.pattern.exits(effect.agent)]
        foreign = ["handoff_to_nobody", "teleport", *tool_names(("ann", "bob", "cy", "dee")).values()]
        words = f"words of {effect.id}" if chance.random() < 0.8 else "Let me transfer you to bob now."
        parts: list[Text | ToolCall] = [Text(words)] if chance.random() < 0.6 else []
        problems: dict[int, str] = {}
        for number in range(chance.choice([0, 0, 0, 1, 1, 2, 3, 5])):
            name = chance.choice(names) if names and chance.random() < 0.85 else chance.choice(foreign)
            arguments = chance.choice(['{"reason": "because"}', "{}", "", "[1]", "{broken", '{"reason": 7}'])
            parts.append(ToolCall(f"c{number if chance.random() < 0.9 else 0}", name, arguments))
            if name in TOOLS and chance.random() < 0.15:
                problems[number] = "does not fit"
        tokens = chance.choice([0, 0, 7])
        unfit = ""
        if not any(isinstance(part, ToolCall) for part in parts) and chance.random() < 0.2:
            unfit, parts = "- Invalid JSON.", [Text(f"unfit, {words}")]
        given = tuple(parts or [Text("")])
        return ModelReplied(effect.id, given, problems, "", tokens, tokens, unfit=unfit)

    def person(self, asked: Asked) -> Response | None:
        chance = self.chance("person", asked.ask, asked.turn, asked.call and asked.call.id)
        if asked.ask == "outcome":
            if self.careless and chance.random() < 0.5:
                return None
            # Who is asked because the tool could not say looks for themselves.
            assert asked.call
            done = self.ledger.get(asked.call.id)
            again = asked.call.name in self.machine.policies.get(asked.agent, {})
            return OutcomeTold(done[0].content if done else None if again else "nobody knows")
        if chance.random() < 0.2:
            return None
        if chance.random() < 0.05:
            return Terminate()
        if asked.ask == "reply":
            return self.colleague(asked, chance)
        if asked.ask == "user_input":
            return Words((user(f"answer in turn {asked.turn}"),))
        return Approval(chance.random() < 0.6, "so there", chance.choice([None, '{"edited": true}']))

    def colleague(self, asked: Asked, chance: random.Random) -> Response:
        """What a participant who is a person does with their turn."""
        exits = [edge.target for edge in self.machine.pattern.exits(asked.agent).values()]
        if exits and chance.random() < 0.4:
            return Turned("Over to you.", chance.choice(exits))
        floor = self.state.floor
        arrival = floor.arrivals.get(asked.agent)
        giver = floor.callers[-1] if floor.callers else arrival.handoff.source if arrival else ""
        return Turned("I see.", back=giver in self.machine.policies and chance.random() < 0.3)

    @property
    def facts(self) -> list[Fact]:
        return [fact for batch in self.batches for fact in batch]
