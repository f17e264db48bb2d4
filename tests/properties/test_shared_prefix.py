"""Every request of every random world, laid out alike for all: providers take it, and it goes on from the one before."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from relayline.agent import Agent, ChatRequest, ToolSpec
from relayline.machine.effects import CallModel
from relayline.machine.state import State
from relayline.machine.view import view
from relayline.messages import Message
from relayline.runtime.shared import Shared, shared
from relayline.testing import PROVIDERS, check_request
from relayline.views import words
from tests.properties.test_providers import Rough, rough_worlds
from tests.properties.worlds import World, machines

REQUESTS = 3_000


def layout(world: World) -> Shared:
    pattern, people = world.machine.pattern, world.machine.people
    agents = [Agent(name, f"Be {name}.") for name in pattern.agents if name not in people]
    offered = {
        name: tuple(map(ToolSpec, [*world.machine.policies[name], *pattern.exits(name)])) for name in pattern.agents
    }
    return shared(agents, pattern.agents, offered)


def laid(team: Shared, call: CallModel, state: State) -> list[Message]:
    messages = team.lay(list(view(state.spoken, "", team.show)), call.agent)
    request = ChatRequest(Agent(call.agent), messages, team.tools, common=team.system)
    check_request(request)
    for name, provider in PROVIDERS.items():
        # One of them reads words alone, and is given nothing else.
        plain = replace(request, messages=tuple(words(messages, call.agent)))
        provider.check(provider.render(plain if name == "deepseek" else request))
    said = [message.text for message in state.transcript if message.role == "user" and message.text]
    assert [message.text for message in messages if message.text in said] == said
    return messages


def judge(world: World) -> int:
    """How many requests went on from the one before, as each has to that follows an answer."""
    team = layout(world)
    before: list[Message] = []
    answers = shared_by = 0
    for call, state in world.calls:
        messages = laid(team, call, state)
        spoken = sum(message.role == "assistant" for message in messages)
        # Whoever was named and then was cut off, or said nothing at all, was not heard.
        if spoken > answers:
            assert messages[: len(before)] == before
            shared_by += 1
        before, answers = messages, spoken
    return shared_by


@given(st.builds(Rough, machines(), st.integers(0, 2**32), st.integers(0, 9)))
def test_every_request_goes_on_from_the_one_before(world: World) -> None:
    """Whoever speaks: all that was sent is sent again, letter by letter, and then what is new."""
    judge(world.play(4))


def test_three_thousand_requests_laid_out_alike() -> None:
    """The same worlds on every day and every machine."""
    judged = 0
    for world in rough_worlds():
        judged += judge(world.play(4))
        if judged >= REQUESTS:
            break
    assert judged >= REQUESTS
