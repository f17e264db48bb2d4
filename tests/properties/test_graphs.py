"""The promises of the patterns in which several speak at once, in random worlds."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from relayline.agent import Agent, ChatRequest
from relayline.events import Replied, TeamChanged, TurnStarted
from relayline.journal.codec import decode, encode
from relayline.machine.decide import Machine
from relayline.machine.effects import effects
from relayline.machine.fold import evolve, fold
from relayline.machine.inputs import UserSaid
from relayline.machine.lanes import outputs, sight
from relayline.machine.state import State
from relayline.machine.view import view
from relayline.messages import Message, user
from relayline.testing import check_request
from tests.properties.graphs import Deep, Drawn, chats, nests, teams
from tests.properties.worlds import ENOUGH

seeds, orders = st.integers(0, 2**32), st.integers(0, 9)
worlds = st.builds(Drawn, teams(), seeds, orders)
moments = st.sets(st.integers(1, 60))


def requests(world: Drawn) -> dict[str, list[Message]]:
    """What each model was given, by the call's id."""
    return {call.id: list(view(sight(state, call.turn).spoken, call.agent)) for call, state in world.calls}


def cut(*worlds: Drawn) -> bool:
    return any(len(world.batches) > ENOUGH - 100 for world in worlds)


def same(one: Drawn, other: Drawn) -> None:
    """The same words in the same order, the same results, and every model was given the same."""
    assert list(one.state.transcript) == list(other.state.transcript)
    assert outputs(one.state) == outputs(other.state)
    assert requests(one) == requests(other)


@given(teams(), seeds, orders, orders)
def test_the_conversation_does_not_depend_on_who_is_faster(machine: Machine, seed: int, one: int, two: int) -> None:
    """Whatever order the turns beside one another finish in: one transcript, one result, the same requests."""
    first, second = (Drawn(machine, seed, order, failing=machine.pattern.partial).play(3) for order in (one, two))
    if not cut(first, second):
        same(first, second)


@given(teams(), seeds, orders, moments, moments)
def test_a_crashed_team_comes_to_the_same_end(
    machine: Machine, seed: int, order: int, crashes: set[int], losses: set[int]
) -> None:
    """Killed after any appends and in any effects, in whatever order these finish: the same words, and requests."""
    smooth = Drawn(machine, seed, failing=machine.pattern.partial).play(3)
    rough = Drawn(machine, seed, order, crashes, losses, failing=machine.pattern.partial).play(3)
    if not cut(smooth, rough):
        same(smooth, rough)


@given(chats(), seeds, moments, moments)
def test_a_crashed_chat_comes_to_the_same_end(machine: Machine, seed: int, crashes: set[int], losses: set[int]) -> None:
    """Killed after any appends and in any effects: the same speakers, words and requests; one speaks at a time."""
    smooth = Drawn(machine, seed, failing=False).play(3)
    rough = Drawn(machine, seed, 0, crashes, losses, failing=False).play(3)
    if not cut(smooth, rough):
        same(smooth, rough)
    state = State()
    for batch in rough.batches:
        state = fold(batch, state)
        assert len(state.open) <= 1


@given(nests(), seeds, orders, moments, moments)
def test_teams_in_teams_come_to_the_same_end(
    machine: Machine, seed: int, order: int, crashes: set[int], losses: set[int]
) -> None:
    """Two and three deep, in any order, killed at any append: one conversation; and the journal alone makes the state."""
    smooth = Deep(machine, seed, failing=False).play(3)
    rough = Deep(machine, seed, order, crashes, losses, failing=False).play(3)
    assert fold(decode(encode(fact)) for fact in rough.facts) == rough.state
    ids = Counter(call.id for message in rough.state.transcript for call in message.tool_calls)
    assert set(ids.values()) <= {1}
    assert all(len(each) <= 40 for each in ids)
    if not cut(smooth, rough):
        assert list(smooth.state.transcript) == list(rough.state.transcript)
        assert outputs(smooth.state) == outputs(rough.state)


@given(worlds)
def test_nothing_is_said_twice_or_lost(world: Drawn) -> None:
    """Every reply is in the conversation exactly once, as soon as no turn is open."""
    facts = world.play(3).facts
    said = Counter(id(fact.message) for fact in facts if isinstance(fact, Replied))
    if not world.state.open and not any(not each.joined for each in world.state.ended.values()):
        assert (
            Counter(
                id(each)
                for each in world.state.transcript
                if each.role == "assistant" and "failed" not in each.metadata
            )
            == said
        )


@given(worlds)
def test_the_journal_alone_makes_the_state(world: Drawn) -> None:
    """What the machine carries along is what anybody gets by reading what the disk holds."""
    facts = [decode(encode(fact)) for fact in world.play(3).facts]
    assert fold(facts) == world.state


@given(st.one_of(worlds, st.builds(Deep, nests(), seeds, orders)))
def test_no_fact_changes_a_state_that_was(world: Drawn) -> None:
    """Whoever keeps a state has it as it was, whatever comes after it, in whatever team, and under whatever names."""
    facts = [*world.play(2).facts[:60], TeamChanged("f", renamed={"ann": "anne", "bob": "rob"})]
    states = [State()]
    for fact in facts:
        states.append(evolve(states[-1], fact))
    for number, state in enumerate(states):
        assert state == fold(facts[:number])


@given(worlds)
def test_nothing_is_wanted_exactly_when_it_rests(world: Drawn) -> None:
    """After every batch: no effects if and only if it waits for somebody, is finished, or failed."""
    state = State()
    for batch in world.play(3).batches:
        state = fold(batch, state)
        assert effects(state) or state.rest or state.requests
        assert not (state.rest and effects(state))
    ids = [effect.id for effect in effects(state)]
    assert len(ids) == len(set(ids))


@given(worlds)
def test_every_request_is_one_a_strict_provider_accepts(world: Drawn) -> None:
    """Pairing, role order, unique ids: in every lane, at every model call."""
    world.play(3)
    for call, messages in ((call, requests(world)[call.id]) for call, _ in world.calls):
        check_request(ChatRequest(Agent(call.agent), tuple(messages)))


@given(worlds)
def test_no_two_turns_share_an_id(world: Drawn) -> None:
    """The ids of calls are different in every turn, whatever way led to it."""
    state, keys = State(), list[str]()
    for fact in world.play(3).facts:
        state = fold([fact], state)
        if isinstance(fact, TurnStarted):
            keys.append(state.open[fact.turn].key)
    assert len(keys) == len(set(keys))


@given(worlds)
def test_turns_follow_edges_and_wait_for_all(world: Drawn) -> None:
    """Whoever speaks is a start, or follows along an edge; who waits for several goes on from one turn of each."""
    graph = world.machine.pattern
    agents = {fact.turn: fact.agent for fact in world.play(3).facts if isinstance(fact, TurnStarted)}
    used: Counter[tuple[int, str]] = Counter()
    for fact in world.facts:
        if isinstance(fact, TurnStarted) and fact.after and agents[fact.after[0]] != fact.agent:
            sources = [agents[number] for number in fact.after]
            joined = [edge.source for edge in graph.edges if edge.target == fact.agent and edge.joins]
            assert sources == joined if joined else len(sources) == 1
            assert all(any(e.target == fact.agent for e in graph.onward(source)) for source in sources)
            used.update((number, fact.agent) for number in fact.after)
    assert set(used.values()) <= {1}


@given(worlds)
def test_after_anything_a_new_message_is_heard(world: Drawn) -> None:
    """However it was left, the user's next message stands in the conversation, and the team begins again."""
    world.play(2)
    decision = world.machine.decide(world.state, UserSaid(user("and now?"), world.machine.pattern.starts[0]))
    assert decision.state.transcript[-1].text == "and now?"
    assert effects(decision.state) or decision.state.requests
    assert not any(not each.joined for each in decision.state.ended.values())


@given(worlds)
def test_the_turns_that_ended_are_forgotten(world: Drawn) -> None:
    """The state holds no more turns than the user's last message began."""
    state, since = State(), 0
    for fact in world.play(3).facts:
        state = fold([fact], state)
        since = 0 if fact.type == "user_spoke" else since + isinstance(fact, TurnStarted)
        assert len(state.ended) <= since
