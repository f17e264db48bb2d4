"""The durable format: what a fact is in JSON, and what is refused in both directions."""

import decimal
import enum
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, cast, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot

from relayline.errors import DamagedJournal, StoreError
from relayline.events import (
    Answered,
    Asked,
    Cancelled,
    Compacted,
    Fact,
    Failed,
    Finished,
    Forked,
    HandedBack,
    HandoffSent,
    Joined,
    Prompted,
    Replied,
    Retried,
    Roster,
    Routed,
    SessionStarted,
    StateChanged,
    Stopped,
    Summarised,
    TeamChanged,
    ToolInterrupted,
    ToolReconciled,
    ToolReturned,
    ToolStarted,
    Transfer,
    TurnEnded,
    TurnStarted,
    UserSpoke,
    Warned,
    Within,
)
from relayline.journal.codec import VERSION, decode, encode
from relayline.journal.schema import schema_of
from relayline.messages import Media, Message, Text, ToolCall, ToolResult, user
from tests.journal.corpus import HOSTILE, LAX
from tests.strategies import FACTS, facts

CALL = ToolCall("t1-s1-c0", "look_up", '{"order":7}')


# --- There and back


@pytest.mark.parametrize("kind", get_args(Fact), ids=lambda kind: kind.__name__)
def test_what_is_written_is_read(kind: type[Fact]):
    """Every fact of every kind comes back from its JSON as it went in."""

    @given(FACTS[kind])
    def there_and_back(fact: Fact):
        line = encode(fact)
        assert decode(line) == decode(line.encode()) == fact
        assert type(decode(line)) is kind
        assert encode(decode(line)) == line

    there_and_back()


@given(facts)
def test_a_fact_is_one_line_of_plain_json(fact: Fact):
    """A line holds no line end, is valid JSON for any reader, and says its type first."""
    line = encode(fact)
    assert "\n" not in line
    assert "\r" not in line
    assert next(iter(json.loads(line))) == "type"


# --- The format of this release: these lines are in people's databases. Change nothing here; add.


def test_the_durable_format():
    """One of each fact with nothing left out, as it stands in journals of this release."""
    spoken = Message("user", (Text("Hi ♥"),), "Zoë", {"channel": "web", "score": 0.5, "tags": ["ä", None, True]})
    reply = Message("assistant", (Text("Let me see."), CALL), "triage")
    written = [
        SessionStarted("support", "2ce102e0f37a"),
        UserSpoke(spoken),
        TurnStarted(1, "triage"),
        Replied(1, reply, "a-model", 120, 17),
        ToolStarted(1, CALL),
        ToolInterrupted(1, "t1-s1-c0"),
        ToolReconciled(1, "t1-s1-c0", False),
        ToolReturned(1, ToolResult("t1-s1-c0", "look_up", "no", "error"), Transfer("orders", "late", {"order": 7})),
        StateChanged({"order": 7}, ("draft",), "t1-s1-c0"),
        HandoffSent(1, "triage", "orders", "wants to know"),
        HandedBack(2, "orders", "triage", "Done."),
        Prompted(1, "triage", "Go on."),
        Summarised("orders", 4, "They want to know.", "a-model", 90, 12),
        Warned("cycle", "round and round", "triage"),
        TurnEnded(1, "triage"),
        Routed(1, ("archive",)),
        Joined((2, 1)),
        Asked("r1", "approval", 1, "triage", CALL, ("orders",)),
        Answered("r1", "refused", "not his", "Jo"),
        Failed("t1-s2", "triage", "ConnectionError", "no route"),
        Retried("t1-s2"),
        Stopped("tokens", "the models took 137 tokens of 100"),
        Cancelled(),
        Finished("terminal"),
        Forked("session-1", 12),
        Compacted(
            12,
            "support",
            "2ce102e0f37a",
            3,
            2,
            "orders",
            ("triage",),
            False,
            (HandoffSent(1, "triage", "orders"),),
            {"order": 7},
            (Summarised("orders", 4, "They want to know."),),
            9,
        ),
        TeamChanged(
            "6dd6d98aaa98",
            Roster({"triage": "", "parcels": "find* pay! post?", "jo": "@"}, {"triage": {"": ""}}, "jo"),
            {"orders": "parcels"},
            {"look_up": "find"},
        ),
        Within(2, Within(1, TurnStarted(3, "fraud"))),
    ]
    assert [type(fact) for fact in written] == list(get_args(Fact))
    assert [encode(fact) for fact in written] == snapshot(
        [
            '{"type":"session_started","workflow":"support","fingerprint":"2ce102e0f37a"}',
            '{"type":"user_spoke","message":{"role":"user","parts":[{"kind":"text","text":"Hi ♥"}],"author_name":"Zoë","metadata":{"channel":"web","score":0.5,"tags":["ä",null,true]}}}',
            '{"type":"turn_started","turn":1,"agent":"triage"}',
            '{"type":"replied","turn":1,"message":{"role":"assistant","parts":[{"kind":"text","text":"Let me see."},{"kind":"tool_call","id":"t1-s1-c0","name":"look_up","arguments":"{\\"order\\":7}"}],"author_name":"triage"},"model":"a-model","input_tokens":120,"output_tokens":17}',
            '{"type":"tool_started","turn":1,"call":{"kind":"tool_call","id":"t1-s1-c0","name":"look_up","arguments":"{\\"order\\":7}"}}',
            '{"type":"tool_interrupted","turn":1,"call_id":"t1-s1-c0"}',
            '{"type":"tool_reconciled","turn":1,"call_id":"t1-s1-c0","done":false}',
            '{"type":"tool_returned","turn":1,"result":{"kind":"tool_result","call_id":"t1-s1-c0","name":"look_up","content":"no","outcome":"error"},"transfer":{"target":"orders","reason":"late","payload":{"order":7}}}',
            '{"type":"state_changed","values":{"order":7},"removed":["draft"],"call_id":"t1-s1-c0"}',
            '{"type":"handoff_sent","turn":1,"source":"triage","target":"orders","reason":"wants to know"}',
            '{"type":"handed_back","turn":2,"source":"orders","target":"triage","reason":"Done."}',
            '{"type":"prompted","turn":1,"agent":"triage","text":"Go on."}',
            '{"type":"summarised","agent":"orders","upto":4,"text":"They want to know.","model":"a-model","input_tokens":90,"output_tokens":12}',
            '{"type":"warned","code":"cycle","message":"round and round","agent":"triage"}',
            '{"type":"turn_ended","turn":1,"agent":"triage"}',
            '{"type":"routed","turn":1,"held":["archive"]}',
            '{"type":"joined","turns":[2,1]}',
            '{"type":"asked","request":"r1","ask":"approval","turn":1,"agent":"triage","call":{"kind":"tool_call","id":"t1-s1-c0","name":"look_up","arguments":"{\\"order\\":7}"},"ways":["orders"]}',
            '{"type":"answered","request":"r1","settled":"refused","note":"not his","by":"Jo"}',
            '{"type":"failed","effect":"t1-s2","agent":"triage","error":"ConnectionError","message":"no route"}',
            '{"type":"retried","effect":"t1-s2"}',
            '{"type":"stopped","budget":"tokens","message":"the models took 137 tokens of 100"}',
            '{"type":"cancelled"}',
            '{"type":"finished","reason":"terminal"}',
            '{"type":"forked","session":"session-1","upto":12}',
            '{"type":"compacted","upto":12,"workflow":"support","fingerprint":"2ce102e0f37a","turns":3,"asked":2,"speaker":"orders","callers":["triage"],"sticky":false,"arrivals":[{"type":"handoff_sent","turn":1,"source":"triage","target":"orders"}],"shared":{"order":7},"summaries":[{"type":"summarised","agent":"orders","upto":4,"text":"They want to know."}],"items":9}',
            '{"type":"team_changed","fingerprint":"6dd6d98aaa98","roster":{"agents":{"triage":"","parcels":"find* pay! post?","jo":"@"},"edges":{"triage":{"":""}},"start":"jo"},"renamed":{"orders":"parcels"},"renamed_tools":{"look_up":"find"}}',
            '{"type":"within","turn":2,"fact":{"type":"within","turn":1,"fact":{"type":"turn_started","turn":3,"agent":"fraud"}}}',
        ]
    )


def test_the_durable_format_of_turns_beside_one_another():
    """What turns go on from, why one failed, and what functions ask are fields that were added."""
    written = [
        TurnStarted(4, "orders", (2, 3), True, "t2x1"),
        TurnEnded(4, "orders", "no route"),
        Asked("r2", "info", 4, "orders", CALL, data={"order": 7}, schema={"type": "boolean"}),
        Answered("r2", "replied", by="Jo", value=True),
    ]
    assert [encode(fact) for fact in written] == snapshot(
        [
            '{"type":"turn_started","turn":4,"agent":"orders","after":[2,3],"apart":true,"key":"t2x1"}',
            '{"type":"turn_ended","turn":4,"agent":"orders","failed":"no route"}',
            '{"type":"asked","request":"r2","ask":"info","turn":4,"agent":"orders","call":{"kind":"tool_call","id":"t1-s1-c0","name":"look_up","arguments":"{\\"order\\":7}"},"data":{"order":7},"schema":{"type":"boolean"}}',
            '{"type":"answered","request":"r2","settled":"replied","by":"Jo","value":true}',
        ]
    )


def test_the_durable_format_of_media():
    """By value and by reference, beside words, as they stand in journals of this release."""
    parts = (Text("This?"), Media("image/png", data="cG5n", name="ä.png"), Media("audio/wav", url="https://a.b/c.wav"))
    assert encode(UserSpoke(Message("user", parts))) == snapshot(
        '{"type":"user_spoke","message":{"role":"user","parts":[{"kind":"text","text":"This?"},{"kind":"media","media_type":"image/png","data":"cG5n","name":"ä.png"},{"kind":"media","media_type":"audio/wav","url":"https://a.b/c.wav"}]}}'
    )


def test_the_durable_format_of_a_note_about_an_output():
    """Why the team told an agent something is a field that was added; older journals are read without it."""
    note = Prompted(1, "triage", "Reply again.", "output_invalid")
    assert encode(note) == snapshot(
        '{"type":"prompted","turn":1,"agent":"triage","text":"Reply again.","code":"output_invalid"}'
    )
    assert decode('{"type":"prompted","turn":1,"agent":"triage","text":"Go on."}') == Prompted(1, "triage", "Go on.")


def test_what_is_at_its_default_is_left_out():
    """Fields at their default take no room, and their absence means the default for ever."""
    bare = [
        UserSpoke(user("hi")),
        Replied(1, Message("assistant")),
        ToolStarted(1, ToolCall("t1-s1-c0", "look_up")),
        ToolReturned(1, ToolResult("t1-s1-c0", "look_up", "")),
        HandoffSent(1, "triage", "orders"),
        Asked("r1", "user_input", 1, "triage"),
        Answered("r1", "replied"),
    ]
    assert [encode(fact) for fact in bare] == snapshot(
        [
            '{"type":"user_spoke","message":{"role":"user","parts":[{"kind":"text","text":"hi"}]}}',
            '{"type":"replied","turn":1,"message":{"role":"assistant"}}',
            '{"type":"tool_started","turn":1,"call":{"kind":"tool_call","id":"t1-s1-c0","name":"look_up"}}',
            '{"type":"tool_returned","turn":1,"result":{"kind":"tool_result","call_id":"t1-s1-c0","name":"look_up","content":""}}',
            '{"type":"handoff_sent","turn":1,"source":"triage","target":"orders"}',
            '{"type":"asked","request":"r1","ask":"user_input","turn":1,"agent":"triage"}',
            '{"type":"answered","request":"r1","settled":"replied"}',
        ]
    )


def test_a_field_of_a_later_release_is_passed_over():
    """A newer release may add a field that changes nothing old: its facts are read without it."""
    assert decode('{"type":"retried","effect":"t1-s1","since":"1.7"}') == Retried("t1-s1")


# --- What cannot be read


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_fact_is_damage_told_in_a_sentence(name: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch):
    """Whatever stands where a fact should is a DamagedJournal; nothing is run, and it takes no time to say so."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "system", lambda *_: pytest.fail("something was run"))
    begun = time.process_time()
    with pytest.raises(DamagedJournal) as raised:
        decode(HOSTILE[name])
    assert time.process_time() - begun < 1
    assert str(raised.value).startswith("not a fact of this release: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", list(HOSTILE))
def test_the_sentence_is_short(name: str):
    """However long the damage, what is said about it fits on a screen."""
    with pytest.raises(DamagedJournal) as raised:
        decode(HOSTILE[name])
    assert len(str(raised.value)) < 1_000


@pytest.mark.parametrize("name", LAX)
def test_reading_guesses_nothing(name: str):
    """What this release would never have written is not bent until it fits."""
    with pytest.raises(DamagedJournal):
        decode(LAX[name])


def test_of_two_values_for_one_key_the_last_one_counts():
    """JSON that names a key twice, which nobody writes, is read as every common reader does; not as two facts."""
    assert decode('{"type":"retried","effect":"a","effect":"b"}') == Retried("b")


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_no_line_escapes_as_another_error(line: str | bytes):
    """Any text or bytes at all is a fact or a DamagedJournal."""
    with suppress(DamagedJournal):
        decode(line)


@given(facts, st.data())
def test_no_line_cut_short_or_changed_escapes_as_another_error(fact: Fact, data: st.DataObject):
    """A line that lost its end is damage; one in which some bytes changed is damage or another fact."""
    line = encode(fact).encode()
    cut = data.draw(st.integers(0, len(line) - 1))
    with pytest.raises(DamagedJournal):
        decode(line[:cut])
    with suppress(DamagedJournal):
        decode(line[:cut] + data.draw(st.binary(min_size=1, max_size=2)) + line[cut + 1 :])


def test_a_newer_format_asks_for_an_upgrade():
    """A journal of a later format is not read past, and the sentence says what to do."""
    with pytest.raises(
        DamagedJournal, match=r"newer relayline \(format 99, this one reads up to 1\); upgrade to read it"
    ):
        decode('{"type":"retried","effect":"a"}', 99)


@pytest.mark.parametrize(
    "version",
    [0, -1, 1.5, *(each for each in (None, "1", "x"))],
    ids=repr,
)
def test_a_format_that_never_was_is_damage(version: Any):
    """A version no release has written, as a damaged database may hold it, is a DamagedJournal like any other."""
    with pytest.raises(DamagedJournal):
        decode('{"type":"retried","effect":"a"}', version)


def test_this_is_the_first_format():
    """Raising the version is a decision: it takes an upcaster, a recording of the old format, and this line."""
    assert VERSION == 1


# --- What cannot be written


class Colour(enum.Enum):
    RED = "red"


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def endless() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


UNKEEPABLE: dict[str, Callable[[], object]] = {
    "half a character": lambda: "\ud800",
    "half a character in a key": lambda: {"\udfff": 1},
    "NaN": lambda: float("nan"),
    "infinity": lambda: [float("-inf")],
    "a set": lambda: {1, 2},
    "an object": object,
    "a class": lambda: Colour,
    "an enum": lambda: Colour.RED,
    "a decimal": lambda: decimal.Decimal(1),
    "a time": lambda: datetime.now(UTC),
    "a function": lambda: nested,
    "a complex number": lambda: 1j,
    "a number too long to write": lambda: 10**5_000,
    "what holds itself": endless,
    "nesting without end": lambda: nested(100_000),
}

CHANGED: dict[str, Callable[[], object]] = {
    "bytes": lambda: b"ab",
    "a bytearray": lambda: bytearray(b"ab"),
    "a number as a key": lambda: {1: "one"},
    "None as a key": lambda: {None: "none"},
    "two keys that look alike": lambda: {True: 1, "True": 2},
    "a message part": lambda: Text("hi"),
}


def with_metadata(value: object) -> Fact:
    return UserSpoke(Message("user", (Text("hi"),), "", cast("Any", {"value": value})))


@pytest.mark.parametrize("name", UNKEEPABLE)
def test_what_json_cannot_hold_is_refused(name: str):
    """A fact that could not be read back is a StoreError that names the fact, before anything is written."""
    with pytest.raises(StoreError, match="a 'user_spoke' fact cannot be kept"):
        encode(with_metadata(UNKEEPABLE[name]()))


@pytest.mark.parametrize("name", CHANGED)
def test_what_would_come_back_as_something_else_is_refused(name: str):
    """What JSON can only hold by changing it is refused, so that memory and disk hold the same journal."""
    with pytest.raises(StoreError):
        encode(with_metadata(CHANGED[name]()))


@pytest.mark.parametrize("depth", [10, 100, 190, 250, 500, 900])
def test_what_is_written_can_be_read_however_deep_it_is(depth: int):
    """Nesting is either refused when it is written or read back: a journal never locks its own session out."""
    fact = with_metadata(nested(depth))
    try:
        line = encode(fact)
    except StoreError:
        assert depth > 100
    else:
        assert encode(decode(line)) == line


@pytest.mark.parametrize(
    "fact",
    [
        Retried("\ud800"),
        Failed("t1-s1", "a", "Error", "\udfff"),
        ToolStarted(1, ToolCall("a", "b", "\ud800")),
        ToolReturned(1, ToolResult("a", "b", "\ud800")),
        TurnStarted(1, cast("Any", object())),
    ],
    ids=lambda fact: fact.type,
)
def test_every_field_is_checked(fact: Fact):
    """Half a character, or an object, in any field of any fact is a StoreError that names the fact."""
    with pytest.raises(StoreError, match=f"a '{fact.type}' fact cannot be kept"):
        encode(fact)


def test_a_fact_that_would_hold_something_else_is_noticed_at_once():
    """Facts are made of texts, whole numbers, JSON, each other, and these several times or not at all."""
    with pytest.raises(TypeError, match="no fact has <class 'bytes'> in it"):
        schema_of(bytes | None)
