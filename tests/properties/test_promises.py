"""The machine's promises, in random worlds."""

import os
import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayline.agent import Agent, ChatRequest
from relayline.errors import RequestNotOpen
from relayline.events import (
    Answered,
    Asked,
    Cancelled,
    Entry,
    Failed,
    HandoffSent,
    Prompted,
    Replied,
    Stopped,
    ToolReconciled,
    ToolReturned,
    ToolStarted,
    TurnStarted,
    Warned,
)
from relayline.journal.checkpoints import checkpoints
from relayline.journal.codec import encode
from relayline.machine.decide import Machine
from relayline.machine.effects import effects
from relayline.machine.fold import fold
from relayline.machine.inputs import Answer, Approval, Resumed, UserSaid, Words
from relayline.machine.state import State
from relayline.machine.view import view
from relayline.messages import Message, ToolResult, user
from relayline.testing import FakeClock, check_request
from tests.properties.worlds import TOOLS, World, machines

worlds = st.builds(World, machines(), st.integers(0, 2**32), st.integers(0, 9))


@given(worlds)
def test_every_transfer_runs_along_a_declared_edge(world: World) -> None:
    """Whatever a model calls, the conversation only ever goes along an edge of its speaker."""
    speaker = ""
    for fact in world.play(4).facts:
        if isinstance(fact, TurnStarted):
            speaker = fact.agent
        if isinstance(fact, HandoffSent):
            assert fact.source == speaker
            pattern = world.machine.pattern
            declared = [*pattern.exits(speaker).values(), *pattern.onward(speaker)]
            assert fact.target in {edge.target for edge in declared}


@given(worlds)
def test_every_call_has_exactly_one_result_before_the_next_model_call(world: World) -> None:
    """No reply is asked for while a call is unanswered, and no call is answered twice."""
    open_calls: Counter[str] = Counter()
    answered: Counter[str] = Counter()
    for fact in world.play(4).facts:
        if isinstance(fact, Replied):
            assert not +open_calls
            open_calls.update(call.id for call in fact.message.tool_calls)
        if isinstance(fact, ToolReturned):
            open_calls[fact.result.call_id] -= 1
            answered[fact.result.call_id] += 1
    assert set(answered.values()) <= {1}
    assert all(count >= 0 for count in open_calls.values())


@given(worlds)
def test_a_reply_that_does_not_fit_is_repaired_or_its_turn_ends(world: World) -> None:
    """It never passes for an answer: the agent is told in the same batch, but not more often than it may miss."""
    misses: Counter[int] = Counter()
    for batch in world.play(4).batches:
        for fact, after in zip(batch, [*batch[1:], None], strict=True):
            if isinstance(fact, Prompted) and fact.code:
                misses[fact.turn] += 1
                assert misses[fact.turn] < world.machine.limits.misses
            elif isinstance(fact, ToolReturned):
                misses[fact.turn] = 0
            if isinstance(fact, Replied) and fact.message.text.startswith("unfit"):
                assert isinstance(after, Prompted) or (isinstance(after, Warned) and after.code == "output_invalid")


@given(worlds)
def test_every_view_is_one_a_strict_provider_accepts(world: World) -> None:
    """Pairing, role order, a last message that is not the assistant's, unique ids: at every model call there ever is."""
    for call, state in world.play(4).calls:
        check_request(ChatRequest(Agent(call.agent), tuple(view(state.spoken, call.agent))))


@given(worlds)
def test_results_are_honest_about_handoffs(world: World) -> None:
    """Of a reply's calls at most one is a transfer: the first possible in call order, after all other calls are settled."""
    replies: list[tuple[Message, list[ToolResult]]] = []
    for message in world.play(4).state.transcript:
        if message.tool_calls:
            replies.append((message, []))
        elif message.role == "tool":
            replies[-1][1].extend(message.tool_results)
    for message, results in replies:
        assert [each.call_id for each in results] == [each.id for each in message.tool_calls][: len(results)]
        handoffs = [each for each in results if each.outcome in ("transferred", "not_taken")]
        taken = [each for each in handoffs if each.outcome == "transferred"]
        assert len(taken) <= 1
        assert not taken or handoffs[0] is taken[0]


@given(worlds)
def test_a_transfer_is_reported_if_and_only_if_it_happens(world: World) -> None:
    """Every `transferred` result is followed by its handoff, and nothing else ever moves the conversation."""
    pattern, speaking = world.machine.pattern, ""
    chosen: set[str] = set()  # where the calls of this reply lead to that were reported as transfers
    wished: set[str] = set()  # where its tools want to go
    for fact in world.play(4).facts:
        match fact:
            case Replied():
                chosen, wished = set(), set()
            case ToolReturned(_, result, transfer):
                speaker = world.machine.pattern.exits(speaking)
                chosen |= {speaker[result.name].target} if result.outcome == "transferred" else set()
                wished |= {transfer.target} if transfer else set()
            case TurnStarted():
                assert not chosen, "reported, and not done"
                speaking = fact.agent
            case HandoffSent(_, source, target):
                onward = {edge.target for edge in pattern.onward(source)} if not (chosen or wished) else set()
                person = {target} if source in world.machine.people else set()
                assert chosen in ({target}, set())
                assert target in chosen | wished | onward | person
                chosen = set()


@given(worlds)
def test_a_gated_tool_runs_only_with_permission(world: World) -> None:
    """A refused, withdrawn or unanswered call never starts; a tool only ever runs after its start is on record."""
    approved: set[str] = set()
    asked: dict[str, Asked] = {}
    started: set[str] = set()
    for fact in world.play(4).facts:
        match fact:
            case Asked(request) if fact.call:
                asked[request] = fact
            case Answered(request, ("approved" | "rerun")):
                call = asked[request].call
                assert call
                approved.add(call.id)
            case ToolStarted(_, call):
                assert not TOOLS[call.name].approval or call.id in approved
                started.add(call.id)
            case _:
                pass
    assert set(world.ran) <= started


@given(worlds)
def test_nobody_is_handed_over_without_the_permission_an_edge_asks_for(world: World) -> None:
    """Whoever wants it, a model or a tool; a person among the participants gives it by handing over."""
    approved: set[str] = set()
    asked: dict[str, Asked] = {}
    pattern, speaker, moved = world.machine.pattern, "", set[str]()
    for fact in world.play(4).facts:
        match fact:
            case Asked(request) if fact.call:
                asked[request] = fact
            case Answered(request, "approved"):
                approved |= {call.id for call in [asked[request].call] if call}
            case Replied():
                moved = set[str]()
            case ToolReturned(_, result) if result.outcome == "transferred":
                edge = pattern.exits(speaker)[result.name]
                assert not edge.approval or result.call_id in approved
                moved.add(edge.target)
            case HandoffSent(_, source, target) if source not in world.machine.people:
                edge = pattern.edge(source, target)
                unasked = {each.target for each in pattern.onward(source)}
                assert not (edge and edge.approval) or target in moved | unasked
            case TurnStarted():
                speaker = fact.agent
            case _:
                pass


@given(worlds)
def test_every_agent_sees_every_user_message_once_and_in_order(world: World) -> None:
    """The view of each agent holds all that users said, whoever was active then."""
    state = world.play(4).state
    said = [message.text for message in state.transcript if message.role == "user"]
    for agent in world.machine.policies:
        assert [each.text for each in view(state.spoken, agent) if each.role == "user" and not each.author_name] == said


@given(worlds)
def test_views_only_grow_at_their_end(world: World) -> None:
    """What an agent was shown is a prefix of what it is shown later: prompt caches stay warm."""
    shown: dict[str, list[Message]] = {}
    for call, state in world.play(4).calls:
        now = list(view(state.spoken, call.agent))
        before = shown.get(call.agent, [])
        assert now[: len(before)] == before
        shown[call.agent] = now


@given(worlds)
def test_nobody_is_shown_a_colleagues_words_as_its_own(world: World) -> None:
    """All that an agent sees in the assistant's role, it said itself; calls and results are its own too."""
    for call, state in world.play(4).calls:
        assert {each.author_name for each in view(state.spoken, call.agent) if each.role != "user"} <= {call.agent}


@given(worlds)
def test_who_gets_a_handoff_is_told_so_last(world: World) -> None:
    """The first request after a handoff ends with who handed over, and why."""
    handoffs = {fact.turn + 1: fact for fact in world.play(4).facts if isinstance(fact, HandoffSent)}
    for call, state in world.calls:
        if call.turn in handoffs and call.id.endswith("-s1"):
            note = list(view(state.spoken, call.agent))[-1]
            assert note.role == "user"
            assert handoffs[call.turn].source in note.text
            assert handoffs[call.turn].reason in note.text


@given(worlds)
def test_at_most_one_agent_speaks_at_a_time(world: World) -> None:
    """In Handoff there are never two open turns."""
    state = State()
    for batch in world.play(4).batches:
        state = fold(batch, state)
        assert len(state.open) <= 1


@given(worlds)
def test_nothing_is_wanted_exactly_when_the_session_rests(world: World) -> None:
    """After every batch: no effects if and only if it waits for somebody, is finished, or failed."""
    state = State()
    for batch in world.play(4).batches:
        state = fold(batch, state)
        waits_only = bool(state.requests) and not any(
            each.stage in ("started", "interrupted") and each.result is None
            for turn in state.open.values()
            for each in turn.calls
        )
        assert (not effects(state)) == bool(state.rest or waits_only)


@given(worlds)
def test_a_checkpoint_is_exactly_where_a_world_rested(world: World) -> None:
    """The journal alone, with one time per batch, tells where the session waited, was finished, or failed."""
    entries: list[Entry] = []
    rested: list[tuple[int, list[str]]] = []
    clock, state = FakeClock(), State()
    for batch in world.play(4).batches:
        at = clock()
        entries += [Entry(len(entries) + number, at, fact) for number, fact in enumerate(batch, 1)]
        state = fold(batch, state)
        if not effects(state):
            rested.append((len(entries), [f"s/{each}" for each in state.requests]))
    assert [(each.seq, list(each.requests)) for each in checkpoints("s", entries)] == rested


@given(worlds)
def test_the_state_is_the_fold_of_the_journal(world: World) -> None:
    """What the machine carries along is what anybody gets by reading."""
    assert fold(world.play(4).facts) == world.state


moments = st.sets(st.integers(1, 60))


@given(machines(), st.integers(0, 2**32), st.integers(0, 9), moments, moments, moments)
def test_a_crashed_conversation_comes_to_the_same_end(
    machine: Machine, seed: int, order: int, crashes: set[int], losses: set[int], deaths: set[int]
) -> None:
    """Killed after any appends and in any effects, in whatever order these finish: the same words, calls and results."""
    # Without failing models: to resume is to retry, so a crash would have a say in what is given up.
    smooth = World(machine, seed, failing=False).play(4)
    rough = World(machine, seed, order, crashes, losses, deaths, failing=False).play(4)
    shortest = min(len(smooth.state.transcript), len(rough.state.transcript))
    cut_short = len(smooth.batches) > 300 or len(rough.batches) > 300
    assert smooth.state.transcript[:shortest] == rough.state.transcript[:shortest]
    assert cut_short or len(smooth.state.transcript) == len(rough.state.transcript)


@given(machines(), st.integers(0, 2**32), moments, moments)
def test_what_must_not_run_twice_never_does_unasked(
    machine: Machine, seed: int, crashes: set[int], losses: set[int]
) -> None:
    """A tool that is not repeatable runs once, or again because a person or the tool itself said so."""
    world = World(machine, seed, 0, crashes, losses).play(4)
    allowed: Counter[str] = Counter()
    asked: dict[str, Asked] = {}
    for fact in world.facts:
        if isinstance(fact, Asked):
            asked[fact.request] = fact
        if isinstance(fact, Answered) and fact.settled == "rerun":
            call = asked[fact.request].call
            assert call
            allowed[call.id] += 1
        if isinstance(fact, ToolReconciled) and not fact.done:
            allowed[fact.call_id] += 1
    for call_id, times in Counter(world.ran).items():
        assert times <= 1 + allowed[call_id] or call_id in _repeatable(world)


def _repeatable(world: World) -> set[str]:
    return {f.call.id for f in world.facts if isinstance(f, ToolStarted) and TOOLS[f.call.name].repeatable}


@given(machines(), st.integers(0, 2**32), moments, moments, moments, st.booleans())
def test_a_tool_that_can_be_asked_does_its_work_once(
    machine: Machine, seed: int, crashes: set[int], losses: set[int], deaths: set[int], silent: bool
) -> None:
    """Wherever the process dies, before, in or after it: the ledger holds a call once, and its result is what it did."""
    world = World(machine, seed, 0, crashes, losses, deaths, silent=silent).play(4)
    assert {len(each) for each in world.ledger.values()} <= {1}
    for fact in world.facts:
        if isinstance(fact, ToolReturned) and fact.result.call_id in world.ledger and fact.result.outcome == "done":
            assert fact.result.content == world.ledger[fact.result.call_id][0].content
        if isinstance(fact, ToolReturned) and TOOLS.get(fact.result.name, TOOLS["look"]).reconcile:
            assert fact.result.outcome != "done" or fact.result.call_id in world.ledger


@given(machines(), st.integers(0, 2**32), moments, moments, moments)
def test_what_is_finished_is_never_done_again(
    machine: Machine, seed: int, crashes: set[int], losses: set[int], deaths: set[int]
) -> None:
    """A reply that was paid for and a tool that has returned are not asked for again, whatever becomes of those beside."""
    world = World(machine, seed, 0, crashes, losses, deaths, silent=True).play(4)
    finished: dict[str, int] = {}
    replies: Counter[int] = Counter()
    for number, batch in enumerate(world.batches, 1):
        for fact in batch:
            if isinstance(fact, ToolReturned):
                finished[fact.result.call_id] = number
            if isinstance(fact, Replied):
                replies[fact.turn] += 1
                finished[f"t{fact.turn}-s{replies[fact.turn]}"] = number
    for effect, batches in world.performances:
        assert batches < finished.get(effect.removesuffix("-outcome"), batches + 1)


@given(machines(), st.integers(0, 2**32), moments, moments)
def test_what_may_have_run_is_never_said_not_to_have(
    machine: Machine, seed: int, crashes: set[int], losses: set[int]
) -> None:
    """A call that was started ends as done, error or unknown, whatever people do about it."""
    world = World(machine, seed, 0, crashes, losses, careless=True, silent=True).play(5)
    started: set[str] = set()
    for fact in world.facts:
        if isinstance(fact, ToolStarted):
            started.add(fact.call.id)
        if isinstance(fact, ToolReturned) and fact.result.call_id in started:
            assert fact.result.outcome in ("done", "error", "unknown")


@given(worlds)
def test_after_any_failure_a_new_message_is_answered(world: World) -> None:
    """However a world was left, the user's next message is heard by whoever speaks next."""
    world.play(3)
    decision = world.machine.decide(world.state, UserSaid(user("and now?")))
    assert decision.state.transcript[-1].text == "and now?"
    # A person who has the conversation is asked; a model is called.
    assert effects(decision.state) or [each.ask for each in decision.state.requests.values()] == ["reply"]
    assert not decision.state.rest


@given(worlds)
def test_an_answer_counts_once(world: World) -> None:
    """An answer to a request that is gone is refused and changes nothing."""
    world.play(3)
    for fact in world.facts:
        if isinstance(fact, Answered) and fact.request not in world.state.requests:
            with pytest.raises(RequestNotOpen):
                world.machine.decide(world.state, Answer(fact.request, Approval(approved=True)))


@given(worlds)
def test_resuming_a_session_that_rests_changes_nothing(world: World) -> None:
    """Looking in again costs no fact, unless something had failed, was cancelled or had no budget."""
    world.play(3)
    if not effects(world.state) and not isinstance(world.state.rest, Failed | Stopped | Cancelled):
        assert world.machine.decide(world.state, Resumed()).facts == []


@given(worlds)
def test_the_same_world_writes_the_same_bytes(world: World) -> None:
    """Facts, ids and order follow from the inputs alone."""
    again = World(world.machine, world.seed, world.order)
    assert [encode(fact) for fact in world.play(3).facts] == [encode(fact) for fact in again.play(3).facts]


def test_the_bytes_do_not_depend_on_the_hash_seed() -> None:
    """Three processes with three hash seeds write one journal."""
    program = """
from tests.properties.worlds import World, TOOLS
from relayline.journal.codec import encode
from relayline.machine.decide import Machine
from relayline.machine.patterns import Handoff
from relayline.machine.topology import mesh
agents = ("ann", "bob", "cy")
machine = Machine("w", Handoff("ann", agents, mesh(agents)), {agent: TOOLS for agent in agents}, "f", True)
for seed in range(20):
    print([encode(fact) for fact in World(machine, seed).play(4).facts])
"""
    written = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(written) == 1
    assert len(written.pop()) > 10_000


def _turn(machine: Machine, state: State) -> tuple[State, str, int]:
    """One turn with a tool call, and the Python functions called and bytes written for it."""
    from relayline.machine.inputs import ModelReplied, ToolDone
    from relayline.messages import Text, ToolCall

    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    written: list[str] = []
    given = (
        UserSaid(user("x" * 120))
        if not state.requests
        else Answer(next(iter(state.requests)), Words((user("x" * 120),)))
    )
    sys.setprofile(count)
    try:
        for step in range(4):
            decision = machine.decide(state, given)
            state = decision.state
            written += map(encode, decision.facts)
            wanted = effects(state)
            if step == 0:
                given = ModelReplied(wanted[0].id, (ToolCall("1", "look", "{}"),))
            elif step == 1:
                given = ToolDone(wanted[0].id, "y" * 200)
            elif step == 2:
                given = ModelReplied(wanted[0].id, (Text("z" * 200),))
    finally:
        sys.setprofile(None)
    return state, "".join(written), calls


def test_a_turn_costs_the_same_however_long_the_conversation_is() -> None:
    """The thousandth turn calls no more functions and writes no more bytes than the tenth (ids have more digits)."""
    from relayline.machine.patterns import Handoff
    from relayline.machine.topology import mesh

    machine = Machine("w", Handoff("ann", ("ann", "bob"), mesh(("ann", "bob"))), {"ann": TOOLS, "bob": {}})
    state, costs, sizes = State(), [], []
    for _ in range(1_000):
        state, written, calls = _turn(machine, state)
        costs.append(calls)
        sizes.append(len(written))
    # The least of several: a garbage collection in the middle of a turn is counted with it.
    assert min(costs[-20:]) <= min(costs[5:25])
    assert sizes[-1] <= sizes[9] + 60
