"""Journals as an enemy, a bad disk or a bug would leave them, for every store.

``HOSTILE`` and ``LAX`` stand where a fact should, and are damage. ``HARMLESS`` looks bad and is read as what it says.
``NONSENSE`` are facts that any store takes and that make no conversation. `KEPT` says how to get any of it into a store.
"""

import base64
import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from hypothesis import strategies as st

from relayline import (
    FileCheckpointStorage,
    HandoffBuilder,
    Media,
    Message,
    SqliteCheckpointStorage,
    Text,
    ToolCall,
    ToolResult,
    Workflow,
    tool,
)
from relayline.events import (
    Answered,
    Ask,
    Asked,
    Compacted,
    Fact,
    Failed,
    Finished,
    Forked,
    HandedBack,
    HandoffSent,
    Prompted,
    Replied,
    Retried,
    SessionStarted,
    Settled,
    StateChanged,
    Stopped,
    Summarised,
    ToolReturned,
    ToolStarted,
    Transfer,
    TurnEnded,
    TurnStarted,
    UserSpoke,
    Warned,
)
from relayline.journal.files import lines
from relayline.journal.store import InMemoryCheckpointStorage, Store
from relayline.messages import user
from relayline.testing import ScriptedClient, call, handoff_to

# --- What stands where a fact should


def with_metadata(metadata: str) -> str:
    return f'{{"type":"user_spoke","message":{{"role":"user","parts":[],"metadata":{{"value":{metadata}}}}}}}'


HOSTILE: dict[str, str | bytes] = {
    "nothing": "",
    "no JSON": "hello",
    "no object": '"retried"',
    "null": "null",
    "a list": '[{"type":"retried","effect":"a"}]',
    "an empty object": "{}",
    "no type": '{"effect":"a"}',
    "an unknown type": '{"type":"exploded","effect":"a"}',
    "a function for a type": '{"type":"os.system","command":"touch hacked"}',
    "a list for a type": '{"type":["retried"],"effect":"a"}',
    "an object for a type": '{"type":{"__class__":"Retried"},"effect":"a"}',
    "a class instead of a type": '{"__class__":"relayline.events.Retried","effect":"a"}',
    "a reduction instead of a type": '{"__reduce__":["os.system",["touch hacked"]]}',
    "a pickle": b"\x80\x04\x95\x1e\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.",
    "YAML": "!!python/object/apply:os.system ['touch hacked']",
    "a missing field": '{"type":"retried"}',
    "a number for text": '{"type":"retried","effect":1}',
    "text for a number": '{"type":"turn_started","turn":"one","agent":"a"}',
    "a fraction for a number": '{"type":"turn_started","turn":1.5,"agent":"a"}',
    "a huge number": '{"type":"turn_started","turn":' + "9" * 5_000 + ',"agent":"a"}',
    "a huge number within": with_metadata("9" * 100_000),
    "an unknown ending": '{"type":"finished","reason":"bored"}',
    "an unknown role": '{"type":"user_spoke","message":{"role":"system","parts":[]}}',
    "an unknown part": '{"type":"user_spoke","message":{"role":"user","parts":[{"kind":"os.system","text":"x"}]}}',
    "a part of no kind": '{"type":"user_spoke","message":{"role":"user","parts":[{}]}}',
    "a part that contradicts itself": '{"type":"tool_started","turn":1,"call":{"kind":"text","id":"a","name":"b"}}',
    "text for parts": '{"type":"user_spoke","message":{"role":"user","parts":"hi"}}',
    "a list for metadata": '{"type":"user_spoke","message":{"role":"user","metadata":[1]}}',
    "deep lists": with_metadata("[" * 100_000 + "]" * 100_000),
    "deep lists without an end": with_metadata("[" * 1_000_000),
    "deep objects": with_metadata('{"a":' * 100_000 + "1" + "}" * 100_000),
    "half a character, escaped": with_metadata(r'"\ud800"'),
    "half a character": '{"type":"retried","effect":"\ud800"}',
    "bytes that are no UTF-8": b'{"type":"retried","effect":"\xff\xfe"}',
    "another encoding": '{"type":"retried","effect":"a"}'.encode("utf-16"),
    "a byte order mark": '\ufeff{"type":"retried","effect":"a"}',
    "a raw control character": '{"type":"retried","effect":"a\nb"}',
    "two facts": '{"type":"retried","effect":"a"}{"type":"retried","effect":"b"}',
    "a comment": '{"type":"retried","effect":"a"} // yes',
    "half a line": '{"type":"retried","eff',
    "a long type": '{"type":"' + "x" * 1_000_000 + '"}',
    "a long line": "x" * 10_000_000,
}


LAX: dict[str, str] = {
    "a digit for a number": '{"type":"turn_started","turn":"3","agent":"a"}',
    "a truth for a number": '{"type":"turn_started","turn":true,"agent":"a"}',
    "a float for a number": '{"type":"turn_started","turn":3.0,"agent":"a"}',
    "NaN": with_metadata("NaN"),
    "infinity": with_metadata("-Infinity"),
    "infinity, spelled out": with_metadata("1e999"),
}

REFUSED: dict[str, tuple[str | bytes, int]] = {
    "of a format to come": ('{"type":"retried","effect":"a"}', 99),
    "of no format": ('{"type":"retried","effect":"a"}', -1),
    "a fact to come": ('{"type":"teleported","turn":1,"agent":"a"}', 1),
    "a pickle in base64": (base64.b64encode(b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94\x93\x94.").decode(), 1),
    "a pickle in a string": (json.dumps("cposix\nsystem\n(S'touch hacked'\ntR."), 1),
    "an object of jsonpickle": ('{"py/object":"os.system","py/reduce":["touch hacked"]}', 1),
    "an object of YAML": ('!!python/object/apply:os.system ["touch hacked"]', 1),
    "a token of some cipher": ("gAAAAABl" + "A" * 200, 1),
    "a token in a string": (json.dumps("gAAAAABl" + "A" * 200), 1),
    "a template": ("{{ self.__init__.__globals__.os.system('touch hacked') }}", 1),
    "a billion laughs": ('{"type":"retried","effect":' + '["lol",' * 500 + "1" + "]" * 500 + "}", 1),
    "one letter, ten million times": ('{"type":"retried","effect":"' + "a" * 10_000_000, 1),
    **{
        f"media at {name!r:.40}": (
            '{"type":"user_spoke","message":{"role":"user","parts":'
            f'[{{"kind":"media","media_type":"a/b","data":{json.dumps("sha256:" + name)}}}]}}}}',
            2,
        )
        for name in ("../../../../etc/passwd", "/etc/passwd", "", "..", "0" * 64, "A" * 64, "\0", "x" * 5_000)
    },
}
"""Text, and the number of the format that stands beside it."""

HARMLESS: dict[str, tuple[str, Fact]] = {
    "fields to come": ('{"type":"retried","effect":"a","since":"1.7","why":{"a":[1]}}', Retried("a")),
    "a name twice": ('{"type":"retried","effect":"a","effect":"b"}', Retried("b")),
    "a class beside the type": ('{"type":"retried","effect":"a","__class__":"os.system","py/object":"os"}', Retried("a")),
    "a class in metadata": (
        with_metadata('{"__class__":"os.system","py/object":"os.system","!!python/object":1}'),
        UserSpoke(
            Message(
                "user", (), "", {"value": {"__class__": "os.system", "py/object": "os.system", "!!python/object": 1}}
            )
        ),
    ),
    "spaces": ('{ "type" : "retried" , "effect" : "a" }', Retried("a")),
    "escapes": (r'{"type":"retried","effect":"\u0061\u0000\ud83d\ude00"}', Retried("a\0\U0001f600")),
    "a number as long as it may be": (with_metadata("9" * 4_000), UserSpoke(Message("user", (), "", {"value": int("9" * 4_000)}))),
}  # fmt: skip

# --- Facts that make no conversation

CALL = ToolCall("t1-s1-c0", "look_up", "{}")

NONSENSE: dict[str, Sequence[Fact]] = {
    "a turn that nobody had ends": [TurnEnded(1, "triage")],
    "a reply in no turn": [Replied(7, Message("assistant", (Text("hi"),)), "m", 1, 1)],
    "a result of no call": [ToolReturned(1, ToolResult("t1-s1-c0", "look_up", "x"))],
    "a tool that nobody called is started": [TurnStarted(1, "triage"), ToolStarted(1, CALL)],
    "a transfer out of nowhere": [TurnStarted(1, "triage"), ToolReturned(1, ToolResult("x", "y", "z"), Transfer("?"))],
    "an answer to no request": [Answered("r1", "approved")],
    "a request about no call": [TurnStarted(1, "triage"), Asked("r1", "approval", 1, "triage")],
    "an interruption of no call": [TurnStarted(1, "triage"), Asked("r1", "outcome", 1, "triage")],
    "a turn of a person that is none": [Asked("r1", "reply", 3, "triage")],
    "a turn ends with its request open": [
        UserSpoke(user("hi")),
        TurnStarted(1, "orders"),
        Replied(1, Message("assistant", (CALL,), "orders")),
        Asked("r1", "approval", 1, "orders", CALL),
        TurnEnded(1, "orders"),
    ],
    "two turns at once": [TurnStarted(1, "triage"), TurnStarted(2, "orders"), TurnStarted(1, "orders")],
    "a handoff from and to nobody": [UserSpoke(user("hi")), HandoffSent(1, "", ""), HandedBack(1, "a", "b")],
    "an agent that the team does not have": [UserSpoke(user("hi"), to="mallory"), TurnStarted(1, "mallory")],
    "a note to nobody": [Prompted(1, "mallory", "go on")],
    "a summary of more than there is": [UserSpoke(user("hi")), Summarised("triage", 10**12, "all")],
    "the end before the beginning": [Finished("terminal"), Failed("t1-s1", "", "E", "m"), Stopped("money", "m")],
    "the beginning twice": [SessionStarted("desk", "f"), SessionStarted("other", "f")],
    "no beginning": [UserSpoke(user("hi"))],
    "forgotten in the middle": [UserSpoke(user("hi")), Compacted(10**9, "desk", "f")],
    "forgotten up to nothing": [UserSpoke(user("hi")), Compacted(0, "desk", "f")],
    "forgotten by somebody else": [Compacted(5, "other", "f", speaker="mallory", callers=("a", "b"))],
    "a branch of itself": [Forked("s", 1), Forked("s", 10**9)],
    "numbers below nothing": [TurnStarted(-1, "triage"), Replied(-1, Message("assistant"), "", -5, -5)],
    "numbers beyond everything": [TurnStarted(10**30, "triage"), Replied(10**30, Message("assistant"), "", 10**30)],
    "the wrong speaker": [UserSpoke(Message("tool", (ToolResult("a", "b", "c"),))), TurnStarted(1, "triage")],
    "a user who calls tools": [UserSpoke(Message("user", (CALL, CALL))), TurnStarted(1, "triage")],
    "a model with two calls of one id": [
        UserSpoke(user("hi")),
        TurnStarted(1, "triage"),
        Replied(1, Message("assistant", (CALL, CALL), "triage")),
    ],
}
"""Each follows a beginning, if it has none of its own."""

_names = st.sampled_from(["triage", "orders", "mallory", ""])
_numbers = st.sampled_from([1, 1, 1, 2, 3, 0, -1, 10**6])
_ids = st.sampled_from(["t1-s1-c0", "t1-s1-c1", "t2-s1-c0", "x"])
_requests = st.sampled_from(["r1", "r2", "x"])
_calls = st.builds(
    ToolCall,
    _ids,
    st.sampled_from(["look_up", "refund", "handoff_to_orders", "handoff_to_triage", "nothing"]),
    st.sampled_from(["{}", '{"order": 7}', "no JSON", '{"reason": "r"}']),
)
_results = st.builds(ToolResult, _ids, st.just("look_up"), st.just("x"), st.sampled_from(["done", "error", "unknown"]))
_parts = st.lists(st.builds(Text, st.just("hi")) | _calls | _results, max_size=2).map(tuple)
_some = st.lists(_names, max_size=2).map(tuple)

muddled: st.SearchStrategy[Fact] = st.one_of(
    st.builds(SessionStarted, st.sampled_from(["desk", "other"]), st.just("f")),
    st.builds(UserSpoke, st.builds(Message, st.sampled_from(["user", "user", "tool"]), _parts, _names), _names),
    st.builds(TurnStarted, _numbers, _names),
    st.builds(
        Replied, _numbers, st.builds(Message, st.sampled_from(["assistant", "assistant", "user"]), _parts, _names)
    ),
    st.builds(ToolStarted, _numbers, _calls),
    st.builds(ToolReturned, _numbers, _results, st.none() | st.builds(Transfer, _names)),
    st.builds(StateChanged, st.just({"a": 1}), st.just(("b",))),
    st.builds(HandoffSent, _numbers, _names, _names, returns=st.sampled_from(["stay", "caller", "start"])),
    st.builds(HandedBack, _numbers, _names, _names),
    st.builds(Prompted, _numbers, _names, st.just("go on"), st.sampled_from(["", "output_invalid"])),
    st.builds(Summarised, _names, _numbers, st.just("all")),
    st.builds(Warned, st.just("x"), st.just("y"), _names),
    st.builds(TurnEnded, _numbers, _names),
    st.builds(Asked, _requests, st.sampled_from(get_args(Ask)), _numbers, _names, st.none() | _calls, _some),
    st.builds(Answered, _requests, st.sampled_from(get_args(Settled))),
    st.builds(Failed, st.sampled_from(["t1-s1", "t1-s2", "x"]), _names, st.just("E"), st.just("m")),
    st.builds(Retried, st.sampled_from(["t1-s1", ""])),
    st.builds(Stopped, st.just("tokens"), st.just("m")),
    st.builds(Finished, st.sampled_from(["terminal", "stopped"])),
    st.builds(Forked, st.just("s"), _numbers),
    st.builds(Compacted, _numbers, st.just("desk"), st.just("f"), _numbers, st.just(0), _names, _some),
)
"""Facts of so few agents, turns, calls and requests that many of them seem to belong together."""

# --- Stores


@dataclass(frozen=True, slots=True)
class Kept:
    """A kind of store that outlives its process.

    ``open``: the one in a folder. ``plant``: puts text, and the number of a format, in the place of an entry of a
    session. ``file``: where a session's words are.
    """

    open: Callable[[Path], Store]
    plant: Callable[[Path, str, int, str | bytes, int], None]
    file: Callable[[Path, str], Path]


def _file(place: Path, session: str) -> Path:
    (found,) = (place / "store").glob(f"{session}-*.jsonl")
    return found


def _in_file(place: Path, session: str, seq: int, body: str | bytes, version: int) -> None:
    """With checksums that hold, as an enemy would."""
    path = _file(place, session)
    head, *rest = path.read_bytes().splitlines(keepends=True)
    text = [head]
    crc, facts, number = lines.read_head(head).crc, list[bytes](), 0
    for line in rest:
        if not line.startswith(lines.SEAL):
            number += 1
            planted = body if isinstance(body, bytes) else body.encode(errors="surrogatepass")
            facts.append(planted + b"\n" if number == seq else line)
            continue
        seal = json.loads(line)
        versions = seal.get("versions", [1] * len(facts))
        if seq in (within := range(number - len(facts) + 1, number + 1)):
            versions[within.index(seq)] = version
        del seal["crc32"]
        seal |= {"bytes": sum(map(len, facts)), "versions": versions}
        sealed, crc = lines._sealed(b"".join(facts), json.dumps(seal, separators=(",", ":")).encode(), crc)
        text.append(sealed)
        facts = []
    path.write_bytes(b"".join(text))


def _in_sqlite(place: Path, session: str, seq: int, body: str | bytes, version: int) -> None:
    if isinstance(body, str):
        try:
            body.encode()
        except UnicodeEncodeError:
            body = body.encode(errors="surrogatepass")
    with closing(sqlite3.connect(place / "store.db")) as db:
        db.execute(
            "UPDATE fact SET body = ?, version = ? WHERE seq = ? AND session = (SELECT key FROM session WHERE id = ?)",
            (body, version, seq, session),
        )
        db.commit()


KEPT: dict[str, Kept] = {
    "file": Kept(lambda place: FileCheckpointStorage(place / "store"), _in_file, _file),
    "sqlite": Kept(
        lambda place: SqliteCheckpointStorage(place / "store.db"), _in_sqlite, lambda place, _: place / "store.db"
    ),
}


# --- A conversation


@tool
def look_up(order: int = 0) -> str:
    """Look an order up."""
    return f"Order {order} is on its way."


@tool(approval_mode="always_require")
def refund(order: int = 0) -> str:
    """Pay money back."""
    return f"Order {order} was paid back."


PICTURE = Media.from_bytes(b"\x89PNG" + bytes(4_000), "image/png", "bike.png")


def team(store: Store | None = None, *replies: object) -> Workflow:
    """Triage and orders, who answer whatever they are asked."""
    client = ScriptedClient(*(replies or ["Fine."] * 20))  # type: ignore[arg-type]
    agents = [
        client.as_agent("triage", description="hears what it is about", tools=[look_up]),
        client.as_agent("orders", description="knows all orders", tools=[look_up, refund]),
    ]
    return (
        HandoffBuilder(name="desk", participants=agents)
        .with_checkpointing(store or InMemoryCheckpointStorage())
        .build()
    )


async def talk(store: Store, session: str) -> None:
    """A conversation with a picture, a tool, a handoff and a call that waits for leave."""
    replies = call("look_up", order=7), handoff_to("orders", reason="7"), "Which one?", call("refund", order=7)
    workflow = team(store, *replies)
    await workflow.run(Message("user", (Text("Where is it? ♥"), PICTURE)), session_id=session)
    await workflow.run("That one.", session_id=session)
