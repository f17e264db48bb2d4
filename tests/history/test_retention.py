"""Forgetting: one session by hand, and all that are due by a policy."""

from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest

from relayline import (
    Agent,
    HandoffBuilder,
    InMemoryCheckpointStorage,
    ModelError,
    SequentialBuilder,
    SessionHeld,
    SessionNotFound,
    ToolContext,
    UsageError,
    Workflow,
    tool,
)
from relayline.events import Compacted, Entry, Summarised, TurnEnded
from relayline.history import Expired, Retention, compact, expire, export_session, fork, import_session
from relayline.journal.store import SessionSummary, Store
from relayline.testing import Crash, FakeClock, Reply, ScriptedClient, call, crash_at, handoff_to
from relayline.views import summary

DAY = timedelta(days=1)
SEEN: list[object] = []


@tool(approval_mode="always_require")
def refund(order: str) -> str:
    """Pay money back."""
    return f"refunded {order}"


@tool
def note(context: ToolContext) -> str:
    """Look at what came along."""
    SEEN.append(dict(context.state))
    return "noted"


def desk(store: Store, *replies: Reply, returns: str = "stay") -> Workflow:
    client = ScriptedClient(*replies)
    triage, orders = Agent("triage", client=client), Agent("orders", client=client, tools=[refund, note])
    builder = HandoffBuilder(name="desk", participants=[triage, orders]).with_checkpointing(store)
    builder.add_handoff(triage, orders, description="knows orders", returns=returns)  # type: ignore[arg-type]
    return builder.add_handoff(orders, triage, description="knows the way").build()


def patient() -> tuple[FakeClock, InMemoryCheckpointStorage]:
    """A store in which no time passes but by hand."""
    clock = FakeClock(step=timedelta(microseconds=1))
    return clock, InMemoryCheckpointStorage(clock)


async def three_messages(store: Store, session_id: str = "s") -> Workflow:
    workflow = desk(store, "Hello.", handoff_to("orders"), "Which order?", "It was sent.", "You are welcome.")
    for words in ("Hi.", "Where is it?", "A-1."):
        await workflow.run(words, session_id=session_id)
    return workflow


# --- compact


async def test_a_compacted_session_goes_on_where_it_stood():
    """Who has the conversation, what the team has in common, and the numbers of turns and requests are kept."""
    store = InMemoryCheckpointStorage(FakeClock())
    workflow = await three_messages(store)
    before = await workflow.session("s")
    made = await compact(store, "s", messages=1)
    assert isinstance(made, Compacted)
    assert (await store.read("s"))[0].fact == made
    after = await workflow.session("s")
    assert (after.active_agent, after.seq, after.requests[0].request_id) == ("orders", before.seq, "s/r3")
    assert [each.text for each in after.conversation] == ["A-1.", "It was sent."]
    result = await workflow.run("Thanks.", session_id="s")
    assert (result.text, result.requests[0].request_id) == ("You are welcome.", "s/r4")


async def test_what_is_short_enough_is_left_as_it_is():
    """Nothing before the messages that are kept: None, and the journal is untouched. Also the second time."""
    store = InMemoryCheckpointStorage(FakeClock())
    await three_messages(store)
    entries = await store.read("s")
    for messages in (3, 4):
        assert await compact(store, "s", messages=messages) is None
    assert await store.read("s") == entries
    assert await compact(store, "s", messages=2)
    assert await compact(store, "s", messages=2) is None
    assert await compact(store, "s", messages=1)


async def test_what_cannot_be_compacted_is_refused():
    """A session that is not there or is held, and no number of messages."""
    store = InMemoryCheckpointStorage(FakeClock())
    await three_messages(store)
    await store.hold("s", "case 12")
    with pytest.raises(SessionHeld, match="case 12"):
        await compact(store, "s", messages=1)
    with pytest.raises(SessionNotFound):
        await compact(store, "nobody", messages=1)
    for bad in (0, -1, True, 1.5):
        with pytest.raises(UsageError, match="a whole number, 1 or more"):
            await compact(store, "s", messages=bad)  # type: ignore[arg-type]


async def test_a_caller_that_waits_gets_the_conversation_back_after_a_compaction():
    """``returns="caller"``: who is owed it is not forgotten, though the handoff is."""
    store = InMemoryCheckpointStorage(FakeClock())
    asks = [call("refund", order="A")]
    workflow = desk(store, handoff_to("orders"), asks, asks, "Refunded.", "All told.", returns="caller")
    await workflow.run("Refund A.", session_id="s")
    await workflow.run("Now!", session_id="s")
    assert await compact(store, "s", messages=1)
    result = await workflow.run(responses={"s/r2": True})
    assert [each.author_name for each in result.conversation if each.text] == ["", "orders", "triage"]
    assert result.conversation[0].text == "Now!"


async def test_a_summary_is_kept_and_a_later_one_stands_for_what_came_since():
    """Who was told of the conversation in a summary is told so still; the next one counts from there."""
    store = InMemoryCheckpointStorage(FakeClock())
    scribe = ScriptedClient("They said hi.", "They said hi, and came back.")
    client = ScriptedClient(handoff_to("orders"), "Which?", handoff_to("triage"), "Yes?", handoff_to("orders"), "Here.")
    triage, orders = client.as_agent("triage", description="the way"), client.as_agent("orders", description="orders")
    builder = HandoffBuilder(name="desk", participants=[triage, orders]).with_checkpointing(store)
    workflow = builder.with_view("orders", summary(scribe)).build()
    await workflow.run("Hi.", session_id="s")
    await workflow.run("To triage, please.", session_id="s")
    assert await compact(store, "s", messages=1)
    await workflow.run("And back.", session_id="s")
    made = [each.fact for each in await store.read("s") if isinstance(each.fact, Summarised)]
    assert [each.text for each in made] == ["They said hi, and came back."]
    asked = scribe.requests[-1].messages
    assert [each.text for each in asked][:3] == [
        "What was said before, summed up:\nThey said hi.",
        "To triage, please.",
        "[triage] Yes?",
    ]
    shown = client.requests[-1].messages
    assert shown[0].text == "What was said before, summed up:\nThey said hi, and came back."
    assert "And back." not in [each.text for each in shown]


async def test_usage_after_a_compaction_counts_what_is_left():
    """And still says who handed over to whom."""
    store = InMemoryCheckpointStorage(FakeClock())
    workflow = await three_messages(store)
    before = await workflow.usage("s")
    await compact(store, "s", messages=1)
    after = await workflow.usage("s")
    assert (len(before.calls), len(after.calls)) == (4, 1)
    assert [(each.source, each.agent) for each in after.calls] == [("triage", "orders")]


async def test_a_branch_keeps_what_was_compacted_in_its_origin():
    """And the other way round."""
    store = InMemoryCheckpointStorage(FakeClock())
    await three_messages(store)
    await fork(store, "s", branch="b")
    entries = await store.read("b")
    await compact(store, "s", messages=1)
    assert await store.read("b") == entries
    compacted = await store.read("s")
    await compact(store, "b", messages=2)
    assert await store.read("s") == compacted


async def test_a_compacted_session_travels(tmp_path):
    """Exported and taken in elsewhere, with its numbers, and goes on there."""
    store, other = InMemoryCheckpointStorage(FakeClock()), InMemoryCheckpointStorage(FakeClock())
    await three_messages(store)
    await compact(store, "s", messages=1)
    await export_session(store, "s", tmp_path / "s.jsonl")
    await import_session(other, tmp_path / "s.jsonl")
    result = await desk(other, "Bye.").run("Thanks.", session_id="s")
    assert (result.text, result.conversation[0].text) == ("Bye.", "A-1.")


# --- expire


async def test_what_is_due_is_deleted_and_compacted_and_the_rest_is_left():
    """By the age of the last fact; deleting comes before compacting."""
    clock, store = patient()
    for name in ("old", "older", "new"):
        await three_messages(store, name)
    await fork(store, "old", branch="branch")
    clock.advance(20 * DAY)
    await desk(store, "Yes?").run("Still there?", session_id="old")
    clock.advance(10 * DAY)
    await desk(store, "Yes?").run("Still there?", session_id="new")
    branch = await store.read("branch")
    policy = Retention(delete_after=30 * DAY, compact_after=10 * DAY, keep_messages=2)
    expected = [
        Expired("older", "deleted", "nothing was said for 30 days"),
        Expired("branch", "deleted", "nothing was said for 30 days"),
        Expired("old", "compacted", f"nothing was said for 10 days; its first {len(branch) - 7} facts are forgotten"),
    ]
    dry = await expire(store, policy, dry_run=True)
    assert [(each.session_id, each.fate) for each in dry] == [(each.session_id, each.fate) for each in expected]
    assert len(await store.sessions()) == 4
    assert await expire(store, policy) == dry
    assert [each.session_id for each in await store.sessions()] == ["old", "new"]
    assert len((await desk(store).session("old")).conversation) == 4
    assert await expire(store, policy) == []


async def test_what_is_held_is_kept_and_says_so():
    """However old it is, in a dry run too."""
    clock, store = patient()
    await three_messages(store)
    await store.hold("s", "case 12")
    clock.advance(400 * DAY)
    for dry_run in (True, False):
        assert await expire(store, Retention(delete_after=DAY), dry_run=dry_run) == [
            Expired("s", "kept", "nothing was said for 400 days; it is held: case 12")
        ]
    await store.hold("s", "")
    assert [each.fate for each in await expire(store, Retention(delete_after=DAY))] == ["deleted"]


async def _asks_for_approval(store: Store) -> None:
    await desk(store, handoff_to("orders"), call("refund", order="A")).run("Refund A.", session_id="s")


async def _asks_for_approval_in_a_team_within(store: Store) -> None:
    clerk = ScriptedClient(call("refund", order="A")).as_agent("clerk", tools=[refund])
    inner = HandoffBuilder(name="desk", participants=[clerk]).build()
    outer = SequentialBuilder(name="shop", participants=[inner.as_agent()]).with_checkpointing(store)
    await outer.build().run("Refund A.", session_id="s")


async def _was_cut_off(store: Store) -> None:
    workflow = desk(store, "Hello.")
    with pytest.raises(Crash):
        await workflow.with_store(crash_at(store, 2)).run("Hi.", session_id="s")


OPEN = {
    "it waits for somebody to answer r1 (approval)": _asks_for_approval,
    "it waits for somebody to answer t1.r1 (approval)": _asks_for_approval_in_a_team_within,
    "something is in flight, or was cut off; run it again, or delete it": _was_cut_off,
}


@pytest.mark.parametrize("why", OPEN)
async def test_what_is_not_finished_is_kept_unless_the_policy_says_otherwise(why: str):
    """An approval nobody gave, in a team within too, or a turn that was cut off: somebody has yet to see to it."""
    clock, store = patient()
    await OPEN[why](store)
    clock.advance(2 * DAY)
    (kept,) = await expire(store, Retention(delete_after=DAY))
    assert kept == Expired("s", "kept", f"nothing was said for 2 days; {why}")
    (gone,) = await expire(store, Retention(delete_after=DAY, unfinished=True))
    assert (gone.fate, await store.sessions()) == ("deleted", [])


async def _waits_for_the_user(store: Store) -> None:
    await desk(store, "Hello.").run("Hi.", session_id="s")


async def _failed(store: Store) -> None:
    with pytest.raises(ModelError):
        await desk(store, RuntimeError("overloaded")).run("Hi.", session_id="s")


@pytest.mark.parametrize("left", [_waits_for_the_user, _failed])
async def test_a_question_to_the_user_and_a_failure_keep_nothing(left: Callable[[Store], None]):
    """Every chat ends with a question of an agent that nobody answers; and what failed was given up."""
    clock, store = patient()
    await left(store)  # type: ignore[misc]
    clock.advance(2 * DAY)
    assert [each.fate for each in await expire(store, Retention(delete_after=DAY))] == ["deleted"]


async def test_what_is_not_finished_can_still_be_compacted():
    """What is open came after the last message of the user's, and that is kept."""
    clock, store = patient()
    await desk(store, "Hello.").run("Hi.", session_id="s")
    await _asks_for_approval(store)
    clock.advance(2 * DAY)
    (found,) = await expire(store, Retention(delete_after=DAY, compact_after=DAY))
    assert found.fate == "compacted"
    waiting = (await desk(store).session("s")).requests
    assert [each.request_id for each in waiting] == ["s/r2"]
    result = await desk(store, "Done.").run(responses={"s/r2": True})
    assert result.text == "Done."


async def test_a_policy_may_be_about_some_sessions_only():
    """Chosen by whatever a summary says."""
    clock, store = patient()
    for name in ("a-1", "b-1"):
        await _waits_for(store, name)
    clock.advance(2 * DAY)
    policy = Retention(delete_after=DAY, only=lambda each: each.session_id.startswith("a-"))
    assert [each.session_id for each in await expire(store, policy)] == ["a-1"]


async def _waits_for(store: Store, name: str) -> None:
    await desk(store, "Hello.").run("Hi.", session_id=name)


async def test_a_session_that_cannot_be_read_is_kept_and_the_others_are_done_with():
    """Nobody can say what is in it."""
    clock, store = patient()
    await store.append("odd", [TurnEnded(7, "nobody")], after=0)
    await _waits_for(store, "s")
    clock.advance(2 * DAY)
    kept, gone = await expire(store, Retention(delete_after=DAY))
    assert (kept.fate, gone.fate) == ("kept", "deleted")
    assert "it cannot be read: session 'odd', entry 1 (turn_ended)" in kept.why


async def test_a_session_that_is_written_to_meanwhile_is_left_alone():
    """The user came back just in time."""

    class Busy(InMemoryCheckpointStorage):
        async def sessions(self) -> list[SessionSummary]:
            found = await super().sessions()
            await desk(self, "Yes?").run("Still there?", session_id="s")
            return found

    clock = FakeClock(step=timedelta(microseconds=1))
    store = Busy(clock)
    await _waits_for(store, "s")
    clock.advance(2 * DAY)
    assert await expire(store, Retention(delete_after=DAY, compact_after=DAY)) == []
    assert len((await desk(store).session("s")).conversation) == 4


async def test_what_somebody_else_deleted_or_held_meanwhile_ends_nothing():
    """Two may clear up at once."""

    class Raced(InMemoryCheckpointStorage):
        async def read(self, session_id: str, *, after: int = 0, upto: int | None = None) -> list[Entry]:
            found = await super().read(session_id, after=after, upto=upto)
            if session_id == "gone":
                await super().delete("gone")
            elif session_id == "held":
                await self.hold("held", "case 12")
            return found

    clock = FakeClock(step=timedelta(microseconds=1))
    store = Raced(clock)
    for name in ("gone", "held", "s"):
        await store.append(name, [entry.fact for entry in await _template()], after=0)
    clock.advance(2 * DAY)
    found = await expire(store, Retention(delete_after=DAY))
    assert [(each.session_id, each.fate) for each in found] == [("held", "kept"), ("s", "deleted")]


async def _template() -> Sequence[Entry]:
    store = InMemoryCheckpointStorage()
    await _waits_for(store, "s")
    return await store.read("s")


def test_a_policy_that_makes_no_sense_is_refused():
    """One that keeps everything, or has a number below one."""
    with pytest.raises(UsageError, match="would keep everything"):
        Retention()
    for bad in (timedelta(), -DAY):
        with pytest.raises(UsageError, match="delete_after is a time above zero"):
            Retention(delete_after=bad)
    with pytest.raises(UsageError, match="1 or more"):
        Retention(compact_after=DAY, keep_messages=0)
