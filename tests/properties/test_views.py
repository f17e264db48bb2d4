"""What every view keeps, in random worlds: whoever is asked, by whatever policy it is shown the conversation."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayline import views
from relayline.agent import Agent, ChatRequest, ToolSpec
from relayline.events import Summarised
from relayline.journal.codec import decode, encode
from relayline.journal.store import InMemoryCheckpointStorage
from relayline.machine.effects import CallModel, Effect
from relayline.machine.fold import fold
from relayline.machine.inputs import Input, Summary
from relayline.machine.state import State
from relayline.messages import Message
from relayline.runtime.reply import summary_request
from relayline.runtime.seat import Seat
from relayline.runtime.session import Session
from relayline.testing import PROVIDERS, ScriptedClient, check_everywhere, check_request
from relayline.views import View
from tests.properties.test_providers import Rough
from tests.properties.worlds import World, machines


class Summing(Rough):
    """A world in which everybody is given a summary of what came before a handoff."""

    def perform(self, effect: Effect) -> Input:
        if isinstance(effect, CallModel):
            arrival, made = self.state.floor.arrivals.get(effect.agent), self.state.summaries.get(effect.agent)
            if arrival and arrival.at > (made.upto if made else 0):
                return Summary(effect.id, effect.agent, arrival.at, f"sum at {arrival.at}", "", 3, 2)
        return super().perform(effect)


def any_choice(messages: Sequence[Message], agent: str) -> Sequence[Message]:
    """Some of the messages, some twice, in any order, and some words taken out."""
    chance = random.Random(f"{agent} {len(messages)}")
    some = [message for message in messages if chance.random() < 0.7]
    if chance.random() < 0.5:
        some += chance.sample(some, len(some) // 2)
    if chance.random() < 0.3:
        chance.shuffle(some)
    return some


POLICIES: dict[str, View] = {
    "text": views.text,
    "with_results": views.with_results,
    "full": views.full,
    "last 1": views.last(1),
    "last 3 of full": views.last(3, views.full),
    "summary": views.summary(ScriptedClient()),
    "summary of full": views.summary(ScriptedClient(), views.full),
    "last 2 of a summary": views.last(2, views.summary(ScriptedClient())),
    "any choice": views.shaped(any_choice),
    "any choice of the last": views.shaped(any_choice, views.last(4, views.full)),
    "the last one only": views.shaped(lambda messages, agent: messages[-1:]),
    "nothing": views.shaped(lambda messages, agent: []),
}
every_policy = pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)

worlds = st.builds(Summing, machines(), st.integers(0, 2**32), st.integers(0, 9))


def request(world: World, call: CallModel, state: State, policy: View) -> ChatRequest:
    """What the agent's model would be given then."""
    names = [*world.machine.policies[call.agent], *world.machine.pattern.exits(call.agent)]
    session = Session("s", world.machine, InMemoryCheckpointStorage())
    session.state = state
    seat = Seat(Agent(call.agent), None, {}, tuple(map(ToolSpec, names)), view=policy)
    return _now(seat.request(session))


def _now(coroutine: Any) -> Any:
    """What a coroutine returns that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits for something")


def accepted(request: ChatRequest) -> None:
    """By all six: images and all by those that take any, and in words by the one that reads nothing else."""
    for name in PROVIDERS.keys() - {"deepseek"}:
        PROVIDERS[name].check(PROVIDERS[name].render(request))
    check_everywhere(replace(request, messages=views.words(request.messages, request.agent.name)))


@every_policy
@given(world=worlds)
@settings(max_examples=25)
def test_every_policy_makes_requests_that_every_provider_accepts(policy: View, world: World) -> None:
    """At every model call there ever is, whatever became of the calls before it."""
    for call, state in world.play(3).calls:
        made = request(world, call, state, policy)
        check_request(made)
        accepted(made)


@every_policy
@given(world=worlds)
@settings(max_examples=15)
def test_a_view_is_the_same_however_the_session_was_come_by(policy: View, world: World) -> None:
    """Carried along or read from the journal; and looking changes nothing."""
    world.play(2)
    for call, state in world.calls[-3:]:
        facts = world.facts[: state.seq]
        read = fold(decode(encode(fact)) for fact in facts)
        assert request(world, call, state, policy) == request(world, call, read, policy)
        assert fold(facts) == state == read


@pytest.mark.parametrize("name", ["with_results", "full"])
@given(world=worlds)
def test_views_item_by_item_only_grow_at_their_end(name: str, world: World) -> None:
    """Whoever shows more than words still keeps prompt caches warm, and tells all that users said."""
    shown: dict[str, Sequence[Message]] = {}
    for call, state in world.play(3).calls:
        now = request(world, call, state, POLICIES[name]).messages
        before = shown.get(call.agent, ())
        assert now[: len(before)] == before
        shown[call.agent] = now
        said = [message.text for message in state.transcript if message.role == "user"]
        assert [each.text for each in now if each.role == "user" and not each.author_name] == said
        assert {each.author_name for each in now if each.role != "user"} <= {call.agent}


@given(world=worlds, count=st.integers(1, 6))
def test_last_never_cuts_off_the_users_latest_message(world: World, count: int) -> None:
    """Nor anything that came after it; and of what is shown, the beginning alone is missing."""
    for call, state in world.play(3).calls:
        whole = request(world, call, state, views.text).messages
        now = request(world, call, state, views.last(count)).messages
        assert now == whole[len(whole) - len(now) :]
        latest = [message for message in state.transcript if message.role == "user"][-1]
        assert latest in now


@given(world=worlds)
def test_who_gets_a_handoff_is_told_so_by_every_view_of_its_own(world: World) -> None:
    """The note of the handoff is the last thing in the first request after it, whatever is left out before it."""
    arrived = {
        call.id for call, state in world.play(3).calls
        if (arrival := state.floor.arrivals.get(call.agent)) and arrival.at == len(state.spoken) - 1
    }  # fmt: skip
    for call, state in world.calls:
        if call.id in arrived:
            for name in ("text", "with_results", "full", "last 1", "summary", "summary of full", "last 2 of a summary"):
                last = request(world, call, state, POLICIES[name]).messages[-1]
                assert "handed the conversation over to you" in last.text


@given(world=worlds)
def test_a_summary_is_asked_for_as_every_provider_accepts_it(world: World) -> None:
    """Also where the agent had the conversation before, and called tools."""
    for call, state in world.play(3).calls:
        if arrival := state.floor.arrivals.get(call.agent):
            for policy in (views.text, views.full):
                accepted(summary_request(policy, call.agent, state, arrival.at))


@given(world=worlds)
def test_a_summary_is_made_once_for_each_handoff_that_is_answered(world: World) -> None:
    """Dying or not: never twice for one, and never for what came after."""
    made = [fact for fact in world.play(3).facts if isinstance(fact, Summarised)]
    assert len({(fact.agent, fact.upto) for fact in made}) == len(made)
