"""The test kit, and that it can fail: for every check there is something broken that it catches."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from relayline import Agent, Checkpoint, HandoffBuilder, InMemoryCheckpointStorage, ReplyInfo, ToolSpec, tool
from relayline.agent import ChatRequest, Chunk
from relayline.errors import DamagedJournal, SequenceConflict, StoreError
from relayline.events import Compacted, Entry, Fact, Retried, ToolReturned, UserSpoke
from relayline.journal.store import SessionSummary, Store, now
from relayline.messages import Media, Message, Part, Text, ToolCall, ToolResult, user
from relayline.testing import (
    Crash,
    FakeClock,
    Reply,
    ScriptedClient,
    assert_replays,
    call,
    check_request,
    check_store,
    crash_at,
    handoff_to,
    read_recorded,
    record,
)

TRIAGE = Agent("triage")


def request(*messages: Message, tools: Sequence[ToolSpec] = (), agent: Agent = TRIAGE) -> ChatRequest:
    return ChatRequest(agent, messages, tools)


async def answer(client: ScriptedClient, agent: str = "triage") -> list[Chunk]:
    return [chunk async for chunk in client.stream(request(user("hi"), agent=Agent(agent)))]


# --- ScriptedClient


async def test_replies_come_in_order_and_whole():
    """A reply is words, a call, a list of chunks, or what a function makes of the request, async or not."""

    def by_request(asked: ChatRequest) -> Reply:
        return f"You said {asked.messages[-1].text}."

    async def later(asked: ChatRequest) -> Any:
        return [asked.agent.name]

    info = ReplyInfo("a-model", 1, 2)
    client = ScriptedClient("Hello.", ToolCall("x", "look_up"), ["One ", "two", info], by_request, later, [])
    assert [await answer(client) for _ in range(6)] == [
        ["Hello."],
        [ToolCall("x", "look_up")],
        ["One ", "two", info],
        ["You said hi."],
        ["triage"],
        [],
    ]
    client.assert_done()


async def test_calls_of_one_reply_have_different_ids():
    """`call` and `handoff_to` leave the id open; each gets one that is unique in its reply."""
    client = ScriptedClient([call("look_up", order=7), call("look_up", order=7), handoff_to("orders", reason="ünpaid")])
    chunks = cast("list[ToolCall]", await answer(client))
    assert len({chunk.id for chunk in chunks}) == 3
    assert [(chunk.name, chunk.parse_arguments()) for chunk in chunks] == [
        ("look_up", {"order": 7}),
        ("look_up", {"order": 7}),
        ("handoff_to_orders", {"reason": "ünpaid"}),
    ]


async def test_an_exception_is_raised_after_what_stands_before_it():
    """A model can fail at once or half-way through a reply."""
    client = ScriptedClient(OSError("gone"), ["Half a", OSError("gone again")])
    with pytest.raises(OSError, match="gone"):
        await answer(client)
    stream = client.stream(request(user("hi")))
    assert await anext(stream) == "Half a"
    with pytest.raises(OSError, match="gone again"):
        await anext(stream)


async def test_running_out_of_replies_says_which_request_and_what_was_said_last():
    """A script that is too short fails with the number of the request and the last message, and stays failed."""
    client = ScriptedClient("Hello.")
    await answer(client)
    with pytest.raises(AssertionError, match=r"request 2 \(triage\) finds the script at its end; .* user: 'hi'"):
        await answer(client)
    with pytest.raises(AssertionError, match="request 2"):
        client.assert_done()


async def test_one_client_serves_several_agents_each_by_its_script():
    """With a mapping every agent has its own replies, and one without is named."""
    client = ScriptedClient({"triage": ["I am triage."], "orders": ["I am orders."]})
    assert await answer(client, "orders") == ["I am orders."]
    assert await answer(client, "triage") == ["I am triage."]
    with pytest.raises(
        AssertionError, match="request 3 is fraud's, who has no script; there is one for triage, orders"
    ):
        await answer(client, "fraud")


async def test_unused_replies_are_a_failure():
    """`assert_done` says how many replies are left, whose they are and what comes next."""
    with pytest.raises(AssertionError, match="1 for anyone, next 'Never'"):
        ScriptedClient("Never").assert_done()
    client = ScriptedClient({"triage": [], "orders": ["a", "b"]})
    with pytest.raises(AssertionError, match="not used: 2 for orders, next 'a'"):
        client.assert_done()


def test_scripts_for_all_and_for_each_do_not_mix():
    """Replies in order or one mapping: both at once is a mistake, told at once."""
    with pytest.raises(TypeError, match="not both"):
        ScriptedClient("Hello.", {"triage": ["Hi."]})


async def test_a_request_is_kept_as_it_was_asked():
    """What the caller does to its list afterwards does not change what `requests` holds."""
    client = ScriptedClient("Hello.")
    messages = [user("hi")]
    await anext(client.stream(ChatRequest(TRIAGE, messages)))
    messages.append(user("more"))
    assert [message.text for message in client.requests[0].messages] == ["hi"]


async def test_a_wrong_request_is_not_answered_and_not_forgotten():
    """A client that is asked what providers refuse fails the run, and `assert_done` even if nobody noticed."""
    client = ScriptedClient("Hello.")
    with pytest.raises(AssertionError, match="the last"):
        await anext(client.stream(request(user("hi"), Message("assistant", (Text("yes"),)))))
    assert await answer(client) == ["Hello."]
    with pytest.raises(AssertionError, match="the last"):
        client.assert_done()


async def test_a_scripted_team_hands_over():
    """The example of the module runs as it stands."""

    def look_up(order: int) -> str:
        return f"order {order}"

    client = ScriptedClient(
        {
            "triage": [handoff_to("orders", reason="wants a refund")],
            "orders": [call("look_up", order=7), "Order 7 is on its way."],
        }
    )
    participants = [Agent("triage"), Agent("orders", tools=[look_up])]
    result = await HandoffBuilder(participants=participants).build().with_client(client).run("Where is order 7?")
    assert result.text == "Order 7 is on its way."
    assert [each.agent.name for each in client.requests] == ["triage", "orders", "orders"]
    client.assert_done()


# --- check_request

CALLS = Message("assistant", (Text("Let me see."), ToolCall("c1", "look_up"), ToolCall("c2", "ship")), "triage")
NEXT = "next message is not their results"
ONE = ToolResult("c1", "look_up", "found")
TWO = ToolResult("c2", "ship", "")
OTHER = replace(ONE, call_id="c3")
MISNAMED = replace(TWO, name="x")
HALF = replace(TWO, content="\ud800")
HI = user("hi")


def results(*parts: ToolResult) -> Message:
    return Message("tool", parts, "triage")


def said(*parts: Part) -> Message:
    return Message("assistant", parts, "triage")


def test_a_sound_request_passes():
    """Calls with all their results, several user messages in a row and a tool's message at the end are fine."""
    check_request(request(HI))
    check_request(request(HI, user("and"), CALLS, results(ONE, TWO), tools=[ToolSpec("look_up"), ToolSpec("ship-2")]))
    check_request(request(HI, CALLS, results(ONE, TWO), said(Text("So.")), HI))


REFUSED: dict[str, tuple[str, ChatRequest]] = {
    "nothing": ("no messages", request()),
    "assistant first": ("is the first", request(said(Text("Hello.")), HI)),
    "assistant last": ("is the last", request(HI, said(Text("Hello.")))),
    "calls last": (NEXT, request(HI, CALLS)),
    "orphan calls": (NEXT, request(HI, CALLS, HI)),
    "results too late": (NEXT, request(HI, CALLS, HI, results(ONE, TWO))),
    "one result missing": ("no result for 'c2'", request(HI, CALLS, results(ONE))),
    "one result too many": ("answer no call of it: 'c3'", request(HI, CALLS, results(ONE, TWO, OTHER))),
    "one result twice": ("answer no call of it: 'c1'", request(HI, CALLS, results(ONE, TWO, ONE))),
    "results in another order": ("in the order of the calls", request(HI, CALLS, results(TWO, ONE))),
    "result of another tool": ("another tool's name: 'x' for 'ship'", request(HI, CALLS, results(ONE, MISNAMED))),
    "results in two messages": ("no result for 'c2'", request(HI, CALLS, results(ONE), results(TWO))),
    "orphan results": ("follows no tool call", request(HI, results(ONE))),
    "results again": ("follows no tool call", request(HI, CALLS, results(ONE, TWO), results(ONE, TWO))),
    "one id twice": ("must be unique", request(HI, CALLS, results(ONE, TWO), CALLS, results(ONE, TWO))),
    "no id": ("without an id", request(HI, said(ToolCall("", "x")), results(ToolResult("", "x", "")))),
    "no parts": ("is empty", request(HI, said(), HI)),
    "no words": ("is empty", request(HI, said(Text(" \n")), HI)),
    "half a character": ("not valid Unicode", request(user("\ud800"))),
    "half a character in arguments": ("not valid Unicode", request(HI, said(ToolCall("1", "x", '"\udfff"')), HI)),
    "half a character in a result": ("not valid Unicode", request(HI, CALLS, results(ONE, HALF))),
    "a call of the user": ("holds a tool_call", request(Message("user", (Text("hi"), ToolCall("c1", "x"))))),
    "words of a tool": ("holds a text", request(HI, CALLS, Message("tool", (ONE, TWO, Text("hi"))))),
    "a result of the assistant": ("holds a tool_result", request(HI, said(ONE), HI)),
    "an impossible name": ("no provider accepts", request(HI, said(ToolCall("1", "look up!")), HI)),
    "an impossible tool": ("tool name 'look up'", request(HI, tools=[ToolSpec("look up")])),
    "a tool without a name": ("tool name ''", request(HI, tools=[ToolSpec("")])),
    "a tool with a long name": ("tool name 'xxx", request(HI, tools=[ToolSpec("x" * 65)])),
    "two tools of one name": ("two tools are called 'x'", request(HI, tools=[ToolSpec("x"), ToolSpec("x")])),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_provider_refuses_is_refused_with_a_sentence(name: str):
    """Each rule of the strictest provider catches the request that breaks it, and says which message it is."""
    sentence, broken = REFUSED[name]
    with pytest.raises(AssertionError, match=sentence):
        check_request(broken)


def test_a_long_conversation_is_checked_in_linear_time():
    """A request of twenty thousand messages is checked in a moment, so the check can stand in every test."""
    messages = [HI]
    for number in range(10_000):
        messages += [said(ToolCall(f"c{number}", "x")), results(ToolResult(f"c{number}", "x", "ok"))]
    check_request(request(*messages))


# --- FakeClock


def test_a_fake_clock_goes_by_steps_and_by_hand():
    """Each reading is a step after the last; `advance` moves the next one, back as well."""
    clock = FakeClock(step=timedelta(minutes=1))
    first, second = clock(), clock()
    assert second - first == timedelta(minutes=1)
    clock.advance(timedelta(hours=-1))
    assert clock() - second == timedelta(minutes=-59)
    assert first.utcoffset() == timedelta(0)


# --- check_store


class Broken(InMemoryCheckpointStorage):
    """A store that keeps every rule; the ones below each break one."""


class LosesTheEndOfABatch(Broken):
    async def append(self, session_id: str, facts: Sequence[Fact], *, after: int) -> list[Entry]:
        await super().append(session_id, facts[:1], after=after)
        return [Entry(after + number, FakeClock()(), fact) for number, fact in enumerate(facts, 1)]


class DoesNotCompare(Broken):
    async def append(self, session_id: str, facts: Sequence[Fact], *, after: int) -> list[Entry]:
        return await super().append(session_id, facts, after=len(await self.read(session_id)))


class ComparesTooEarly(Broken):
    async def append(self, session_id: str, facts: Sequence[Fact], *, after: int) -> list[Entry]:
        if len(await self.read(session_id)) != after:
            raise SequenceConflict("too late")
        await asyncio.sleep(0)
        return await super().append(session_id, facts, after=len(await self.read(session_id)))


class WritesOneByOne(Broken):
    async def append(self, session_id: str, facts: Sequence[Fact], *, after: int) -> list[Entry]:
        self._clock = FakeClock(now(), timedelta())
        batches = [
            await super(WritesOneByOne, self).append(session_id, [fact], after=after + number)
            for number, fact in enumerate(facts)
        ]
        return [entry for batch in batches for entry in batch]


class IsCancelledHalfWay(Broken):
    async def append(self, session_id: str, facts: Sequence[Fact], *, after: int) -> list[Entry]:
        if len(facts) < 5:
            return await super().append(session_id, facts, after=after)
        entries = await super().append(session_id, facts[:3], after=after)
        await asyncio.sleep(0)
        return entries + await super().append(session_id, facts[3:], after=after + 3)


class AcceptsAnything(Broken):
    async def append(self, session_id: str, facts: Sequence[Fact], *, after: int) -> list[Entry]:
        try:
            return await super().append(session_id, facts, after=after)
        except SequenceConflict:
            raise
        except StoreError:
            return []


class RaisesAnything(Broken):
    async def append(self, session_id: str, facts: Sequence[Fact], *, after: int) -> list[Entry]:
        try:
            return await super().append(session_id, facts, after=after)
        except StoreError as error:
            raise OSError("disk") from error


class FoldsCase(Broken):
    async def append(self, session_id: str, facts: Sequence[Fact], *, after: int) -> list[Entry]:
        return await super().append(session_id.lower(), facts, after=after)

    async def read(self, session_id: str, *, after: int = 0, upto: int | None = None) -> list[Entry]:
        return await super().read(session_id.lower(), after=after, upto=upto)


class IgnoresUpto(Broken):
    async def read(self, session_id: str, *, after: int = 0, upto: int | None = None) -> list[Entry]:
        return await super().read(session_id, after=after)


class CountsFromZero(Broken):
    async def read(self, session_id: str, *, after: int = 0, upto: int | None = None) -> list[Entry]:
        return [each._replace(seq=each.seq - 1) for each in await super().read(session_id, after=after, upto=upto)]


class LendsItsJournal(Broken):
    async def read(self, session_id: str, *, after: int = 0, upto: int | None = None) -> list[Entry]:
        whole = not after and upto is None and session_id in self._journals
        return self._journals[session_id].entries if whole else await super().read(session_id, after=after, upto=upto)


class RestoresAtOneTime(Broken):
    async def restore(self, session_id: str, entries: Sequence[Entry]) -> None:
        await super().restore(session_id, [each._replace(at=entries[0].at) for each in entries])


class RestoresOverTheOld(Broken):
    async def restore(self, session_id: str, entries: Sequence[Entry]) -> None:
        self._journals.pop(session_id, None)
        await super().restore(session_id, entries)


class RestoresAsFarAsItGoes(Broken):
    async def restore(self, session_id: str, entries: Sequence[Entry]) -> None:
        try:
            await super().restore(session_id, entries)
        except StoreError:
            await super().restore(session_id, entries[:-1])
            raise


class RestoresInAnyOrder(Broken):
    async def restore(self, session_id: str, entries: Sequence[Entry]) -> None:
        await super().restore(session_id, sorted(entries, key=lambda each: each.seq))


class StandsAsLongAsItEndsTheSame(Broken):
    async def stands(self, session_id: str, first: int, last: Entry) -> bool:
        return await self.read(session_id, after=last.seq - 1) == [last]


class StandsWhateverItSays(Broken):
    async def stands(self, session_id: str, first: int, last: Entry) -> bool:
        kept = await self.read(session_id)
        return bool(kept) and (kept[0].seq, kept[-1].seq) == (first, last.seq)


class StandsWhenGoneOn(Broken):
    async def stands(self, session_id: str, first: int, last: Entry) -> bool:
        begun = await self.read(session_id, after=first - 1, upto=first)
        return bool(begun) and await self.read(session_id, after=last.seq - 1, upto=last.seq) == [last]


class ForksTooMuch(Broken):
    async def fork(self, session_id: str, branch: str, *, upto: int) -> None:
        await super().fork(session_id, branch, upto=min(upto + 1, self._journals[session_id].last))


class SharesOneFuture(Broken):
    async def fork(self, session_id: str, branch: str, *, upto: int) -> None:
        await super().fork(session_id, branch, upto=upto)
        self._journals[branch].entries[:upto] = self._journals[session_id].entries


class ForksAnything(Broken):
    async def fork(self, session_id: str, branch: str, *, upto: int) -> None:
        await super().fork(session_id, branch, upto=max(1, min(upto, self._journals[session_id].last)))


class CutsBranchesToo(Broken):
    async def cut(self, session_id: str, fact: Compacted) -> None:
        branches = [key for key, each in self._journals.items() if each.parent == session_id]
        await super().cut(session_id, fact)
        for each in branches:
            await super().cut(each, fact)


class DatesACutAnew(Broken):
    async def cut(self, session_id: str, fact: Compacted) -> None:
        await super().cut(session_id, fact)
        entries = self._journals[session_id].entries
        entries[0] = entries[0]._replace(at=self.now())


class DeletesFromBranchesToo(Broken):
    async def delete(self, session_id: str) -> None:
        branches = [key for key, each in self._journals.items() if each.parent == session_id]
        await super().delete(session_id)
        for each in branches:
            self._journals[each].entries[:1] = []


class DeletesQuietly(Broken):
    async def delete(self, session_id: str) -> None:
        if session_id in self._journals:
            await super().delete(session_id)


class ForgetsToHold(Broken):
    async def delete(self, session_id: str) -> None:
        if session_id in self._journals:
            self._journals[session_id].held = ""
        await super().delete(session_id)


class ShrinksImages(Broken):
    async def append(self, session_id: str, facts: Sequence[Fact], *, after: int) -> list[Entry]:
        return await super().append(session_id, [_shrunk(each) for each in facts], after=after)


def _shrunk(fact: Fact) -> Fact:
    if not isinstance(fact, UserSpoke) or not fact.message.media:
        return fact
    parts = [
        replace(each, data=each.data[:100_000]) if isinstance(each, Media) else each for each in fact.message.parts
    ]
    return UserSpoke(replace(fact.message, parts=tuple(parts)))


class NeverWakesUp(Broken):
    async def wait(self, session_id: str, *, after: int, seconds: float) -> bool:
        return False


class RaisesForUnknown(Broken):
    async def read(self, session_id: str, *, after: int = 0, upto: int | None = None) -> list[Entry]:
        self._journals[session_id]
        return await super().read(session_id, after=after, upto=upto)


class DropsNul(Broken):
    async def read(self, session_id: str, *, after: int = 0, upto: int | None = None) -> list[Entry]:
        return [_without_nul(each) for each in await super().read(session_id, after=after, upto=upto)]


def _without_nul(entry: Entry) -> Entry:
    if isinstance(entry.fact, UserSpoke) and "\0" in entry.fact.message.text:
        return entry._replace(fact=UserSpoke(user(entry.fact.message.text.replace("\0", ""))))
    return entry


class SortsByName(Broken):
    async def sessions(self) -> list[SessionSummary]:
        return sorted(await super().sessions(), key=lambda each: each.session_id)


class ForgetsWhenItWasWritten(Broken):
    async def sessions(self) -> list[SessionSummary]:
        return [replace(each, updated=each.started) for each in await super().sessions()]


class ListsTheNewestFirst(Broken):
    async def list_checkpoints(self, session_id: str | None = None) -> list[Checkpoint]:
        return (await super().list_checkpoints(session_id))[::-1]


class BeginsASessionTooEarly(Broken):
    async def append(self, session_id: str, facts: Sequence[Fact], *, after: int) -> list[Entry]:
        self._begun = [*getattr(self, "_begun", []), session_id]
        return await super().append(session_id, facts, after=after)

    async def sessions(self) -> list[SessionSummary]:
        kept = await super().sessions()
        more = set(getattr(self, "_begun", [])) - {each.session_id for each in kept}
        return [*(SessionSummary(each, 0, FakeClock()(), FakeClock()()) for each in more), *kept]


class ClosesOnce(Broken):
    async def aclose(self) -> None:
        if getattr(self, "_closed", False):
            raise AssertionError("closed already")
        self._closed = True


BROKEN: dict[type[Store], str] = {
    LosesTheEndOfABatch: "What was appended is read back",
    DoesNotCompare: "raises SequenceConflict and writes nothing",
    ComparesTooEarly: "exactly one succeeds",
    WritesOneByOne: "kept whole or not at all",
    IsCancelledHalfWay: "cancelled append",
    AcceptsAnything: "kept whole or not at all",
    RaisesAnything: "instead of SequenceConflict",
    FoldsCase: "Sessions do not mix",
    IgnoresUpto: "after < seq <= upto",
    CountsFromZero: "numbered from 1",
    LendsItsJournal: "the reader's own",
    RaisesForUnknown: "What was appended is read back",
    DropsNul: "valid Unicode",
    SortsByName: "most recently written to last",
    ForgetsWhenItWasWritten: "A summary's times",
    ListsTheNewestFirst: "where sessions rest, the newest last",
    BeginsASessionTooEarly: "begun a session",
    ClosesOnce: "closed already",
    RestoresAtOneTime: "came back as",
    RestoresOverTheOld: "restoring a session that is there",
    RestoresInAnyOrder: "restoring the reverse order was accepted",
    RestoresAsFarAsItGoes: "A part of a refused session",
    StandsAsLongAsItEndsTheSame: "A session stands that has no fact of the number",
    StandsWhateverItSays: "A session stands that ends otherwise",
    StandsWhenGoneOn: "A session stands that has gone on",
    ForksTooMuch: "A branch has the first facts",
    SharesOneFuture: "A branch has the first facts",
    ForksAnything: "A branch needs a session",
    CutsBranchesToo: "A cut has changed a branch",
    DatesACutAnew: "The cut session differs",
    DeletesFromBranchesToo: "A branch has lost something",
    DeletesQuietly: "deleting what is gone",
    ForgetsToHold: "What is held is neither deleted nor cut",
    ShrinksImages: "Images and files come back",
    NeverWakesUp: "as soon as somebody writes",
}


async def test_a_sound_store_passes():
    """What the broken ones are made from is itself in order, so each fails for its own reason."""
    await check_store(Broken)


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
async def test_a_broken_store_is_caught(kind: type[Store]):
    """A store that breaks one rule fails with that rule."""
    with pytest.raises(AssertionError, match=BROKEN[kind]):
        await check_store(kind)


async def test_a_store_that_forgets_is_caught_by_reopening():
    """``reopen`` proves that what one handle wrote, the next one finds."""
    with pytest.raises(AssertionError, match="Read \\[\\], appended"):
        await check_store(Broken, lambda store: Broken())


async def test_a_store_may_take_a_while_to_open():
    """``make_store`` may be async, as opening a database is."""

    async def opened() -> Store:
        return Broken()

    await check_store(opened)


# --- crash_at


@tool(repeatable=True)
def look_up(order: int) -> str:
    """Look an order up."""
    return f"order {order}"


def team(store: Store) -> tuple[Any, ScriptedClient]:
    client = ScriptedClient(
        lambda asked: handoff_to("orders") if asked.agent.name == "triage" else _next(asked), *[_next] * 20
    )
    agents = [client.as_agent("triage"), client.as_agent("orders", tools=[look_up])]
    return HandoffBuilder(participants=agents).with_checkpointing(store).build(), client


def _next(asked: ChatRequest) -> Any:
    if asked.agent.name == "triage":
        return handoff_to("orders")
    return "It is here." if asked.messages[-1].role == "tool" else [call("look_up", order=7), call("look_up", order=8)]


async def uncrashed() -> list[Fact]:
    store = InMemoryCheckpointStorage()
    flow, _ = team(store)
    await flow.run("Where?", session_id="s")
    return [entry.fact for entry in await store.read("s")]


@pytest.mark.parametrize("written", [False, True], ids=["lost", "written"])
async def test_a_run_that_dies_in_any_append_goes_on_where_the_store_stands(written: bool):
    """Crash in each append in turn, resume on the inner store: the journal is that of the uncrashed run."""
    wanted = await uncrashed()
    crashes = 0
    while True:
        store = InMemoryCheckpointStorage()
        crashing = crash_at(store, crashes + 1, written=written)
        flow, _ = team(store)
        try:
            await flow.with_store(crashing).run("Where?", session_id="s")
        except Crash:
            crashes += 1
        else:
            break
        message = None if await store.read("s") else "Where?"
        await flow.run(message, session_id="s")
        assert _sorted_results(await store.read("s")) == _sorted_results(wanted)
    assert crashes == crashing.appends > 3


def _sorted_results(given: Sequence[Entry | Fact]) -> list[str]:
    """Which of two tools comes back first is the world's business."""
    facts = [each.fact if isinstance(each, Entry) else each for each in given]
    return sorted(map(repr, facts))


async def test_the_dead_do_nothing():
    """After the crash nothing gets through, also for somebody who swallows it; the inner store is as it was."""
    inner = InMemoryCheckpointStorage()
    store = crash_at(inner, 2)
    await store.append("s", [Retried("a")], after=0)
    with pytest.raises(Crash):
        await store.append("s", [Retried("b")], after=1)
    assert store.crashed
    for attempt in (store.append("s", [Retried("c")], after=1), store.read("s"), store.sessions()):
        with pytest.raises(Crash):
            await cast("Awaitable[object]", attempt)
    await store.aclose()
    assert len(await inner.read("s")) == 1


async def test_a_crash_may_come_after_the_write():
    """``written=True``: the batch is kept, and nobody is told."""
    inner = InMemoryCheckpointStorage()
    with pytest.raises(Crash):
        await crash_at(inner, 1, written=True).append("s", [Retried("a")], after=0)
    assert [entry.fact for entry in await inner.read("s")] == [Retried("a")]


# --- record, read_recorded, assert_replays


async def journal() -> list[Entry]:
    store = InMemoryCheckpointStorage(FakeClock())
    flow, _ = team(store)
    await flow.run("Where?", session_id="s")
    return await store.read("s")


async def test_a_recording_is_read_as_it_was_written(tmp_path: Path):
    """`read_recorded` gives the entries `record` was given, whatever line ends people use, and never overwrites."""
    store = InMemoryCheckpointStorage(FakeClock())
    facts: list[Fact] = [UserSpoke(user(text)) for text in ("a\r\nb", "\u2028\x85\x0b", "\0", '"fact":', "👩🏽‍🚀")]
    await store.append("s", facts, after=0)
    await record(store, "s", tmp_path / "s.jsonl")
    assert read_recorded(tmp_path / "s.jsonl") == await store.read("s")
    with pytest.raises(FileExistsError):
        await record(store, "s", tmp_path / "s.jsonl")


async def test_a_real_journal_replays(tmp_path: Path):
    """What a run wrote is found sound, as entries and as a file."""
    store = InMemoryCheckpointStorage(FakeClock())
    flow, _ = team(store)
    await flow.run("Where?", session_id="s")
    assert_replays(await store.read("s"))
    await record(store, "s", tmp_path / "s.jsonl")
    assert_replays(tmp_path / "s.jsonl")


def renumbered(entries: Sequence[Entry]) -> list[Entry]:
    return [entry._replace(seq=number) for number, entry in enumerate(entries, 1)]


DAMAGE: dict[str, tuple[str, Callable[[list[Entry]], list[Entry]]]] = {
    "empty": ("is empty", lambda entries: []),
    "without its beginning": ("begins with user_spoke", lambda entries: renumbered(entries[1:])),
    "with a gap": ("is numbered 3", lambda entries: [entries[0], *entries[2:]]),
    "with a call left open": (
        "next message is not their results",
        lambda entries: renumbered([each for each in entries if not isinstance(each.fact, ToolReturned)]),
    ),
    "with a result twice": (
        "two results",
        lambda entries: renumbered(
            [twice for each in entries for twice in [each] * (1 + isinstance(each.fact, ToolReturned))]
        ),
    ),
    "with a batch cut short": ("asked to answer itself", lambda entries: entries[:-2]),
}


@pytest.mark.parametrize("name", DAMAGE)
async def test_a_damaged_journal_does_not_replay(name: str):
    """A journal without a beginning, with gaps, open calls, double results or half a batch is caught."""
    sentence, damage = DAMAGE[name]
    with pytest.raises(AssertionError, match=sentence):
        assert_replays(damage(await journal()))


async def test_a_fact_the_codec_changes_does_not_replay():
    """A journal whose facts JSON cannot tell apart from others is caught."""
    entries = await journal()
    odd = UserSpoke(Message("user", (Text("hi"),), "", cast("Any", {1: "one"})))
    with pytest.raises((AssertionError, StoreError)):
        assert_replays([*entries, Entry(len(entries) + 1, FakeClock()(), odd)])


async def test_a_file_that_would_be_written_differently_does_not_replay(tmp_path: Path):
    """A file of this format that this release reads, but would not write so, is caught."""
    path = tmp_path / "s.jsonl"
    path.write_text('{"seq":1,"at":"2026-01-01T00:00:00+00:00","version":1,"fact":{"type":"retried", "effect":"a"}}\n')
    with pytest.raises(AssertionError, match="entry 1 is written differently now"):
        assert_replays(path)
    path.write_text('{"seq":1,"at":"2026-01-01T00:00:00+00:00","version":1,"fact":{"type":"unheard_of"}}\n')
    with pytest.raises(DamagedJournal, match="unheard_of"):
        assert_replays(path)
