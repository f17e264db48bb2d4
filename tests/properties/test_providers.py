"""Every request of every random world, as six providers would be sent it."""

import random
from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from relayline.agent import Agent, ChatRequest, ToolSpec
from relayline.machine.decide import Machine
from relayline.machine.effects import CallModel
from relayline.machine.inputs import Input, ModelReplied
from relayline.machine.limits import Limits, OnLoop
from relayline.machine.patterns import Autonomy, Handoff
from relayline.machine.state import State
from relayline.machine.topology import mesh
from relayline.machine.view import view
from relayline.messages import Media, Message, Text, ToolCall
from relayline.testing import PROVIDERS
from relayline.views import words
from tests.properties.worlds import TOOLS, World, machines

HISTORIES = 10_000
PHOTO = Media.from_bytes(b"a photo of a bike", "image/png", "bike.png")


class Rough(World):
    """A world whose models also speak after their calls, say only blanks, and write arguments that are hard to send;
    and whose users show images, with words and without.
    """

    def said(self, number: int) -> Message:
        message, chance = super().said(number), self.chance("shown", number)
        return replace(message, parts=chance.choice([message.parts, (PHOTO,), (*message.parts, PHOTO)]))

    def model(self, effect: CallModel) -> Input:
        given = super().model(effect)
        if not isinstance(given, ModelReplied):
            return given
        chance = self.chance("rough", effect.id)
        parts = [replace(part, arguments=r'{"a": "\ud800"}') if _hit(chance, part) else part for part in given.parts]
        if chance.random() < 0.2:
            parts.append(Text(chance.choice([" ", "\n", f"late words of {effect.id}"])))
        if chance.random() < 0.1:
            parts.insert(0, Text(" "))
        return replace(given, parts=tuple(parts))


def _hit(chance: random.Random, part: Text | ToolCall) -> bool:
    return isinstance(part, ToolCall) and chance.random() < 0.1


def rough_worlds() -> Iterator[World]:
    """A world for each seed, on and on: any team, any order, dying now and then."""
    for seed in range(1_000_000):
        chance = random.Random(seed)
        deaths = [chance.sample(range(1, 60), chance.choice([0, 0, 2])) for _ in range(2)]
        yield Rough(_machine(chance), seed, chance.randrange(10), *deaths, careless=chance.random() < 0.3)


def _machine(chance: random.Random) -> Machine:
    agents = ("ann", "bob", "cy", "dee")[: chance.randint(1, 4)]
    edges = tuple(edge for edge in mesh(agents) if chance.random() < 0.8)
    policies = {agent: {name: TOOLS[name] for name in TOOLS if chance.random() < 0.6} for agent in agents}
    alone = {agent: Autonomy("go on", chance.randint(0, 3)) for agent in agents if chance.random() < 0.3}
    limits = Limits(
        hops=chance.choice([None, 1, 5]), cycles=chance.random() < 0.5, on_loop=chance.choice(get_args(OnLoop))
    )
    pattern = Handoff(chance.choice(agents), agents, edges, chance.random() < 0.5, alone)
    return Machine("world", pattern, policies, "f", chance.random() < 0.5, limits)


def judge(world: World, call: CallModel, state: State) -> None:
    """The call's request, to all six: none refuses it, and each is told all that users said, once and in order."""
    names = [*world.machine.policies[call.agent], *world.machine.pattern.exits(call.agent)]
    agent = Agent(call.agent, "Be kind." if call.turn % 2 else "")
    request = ChatRequest(agent, tuple(view(state.spoken, call.agent)), tuple(map(ToolSpec, names)))
    said = [message.text for message in state.transcript if message.role == "user" and message.text]
    photos = sum(len(message.media) for message in state.transcript)
    for name, provider in PROVIDERS.items():
        # One of them reads words alone, and is given nothing else.
        plain = replace(request, messages=tuple(words(request.messages, call.agent)))
        body = provider.render(plain if name == "deepseek" else request)
        provider.check(body)
        if name == "deepseek":
            assert sum(text.count(PHOTO.note) for text in texts(body)) == photos
            continue
        assert sum(PHOTO.data in text for text in texts(body)) == photos, f"{name} is not shown what users showed"
        assert [text for text in texts(body) if text in said] == said, f"{name} is not told what users said"


def texts(value: object) -> Iterator[str]:
    """Every text in a body, in its order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from texts(each)


@given(st.builds(Rough, machines(), st.integers(0, 2**32), st.integers(0, 9)))
def test_every_request_is_one_that_every_provider_accepts(world: World) -> None:
    """In whatever world Hypothesis finds, nobody refuses a request and nobody misses a word of the user's."""
    for call, state in world.play(4).calls:
        judge(world, call, state)


def test_ten_thousand_histories_are_accepted_by_every_provider() -> None:
    """The same worlds on every day and every machine: at least so many requests, and not one refusal."""
    judged = 0
    for world in rough_worlds():
        for call, state in world.play(4).calls:
            judge(world, call, state)
            judged += 1
        if judged >= HISTORIES:
            break
    assert judged >= HISTORIES
