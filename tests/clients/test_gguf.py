"""Models from GGUF files. The one in here is small: shape and manners are proved, never whom it chooses."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from relayline.agent import Agent, ChatRequest, Chunk, ReplyInfo, ToolSpec
from relayline.errors import ModelError, UsageError
from relayline.messages import Media, Message, Text, ToolCall, ToolResult, user

pytest.importorskip("xllamacpp")

from relayline.clients import gguf
from relayline.clients.gguf import GgufClient, ToolChoice

DESK = Agent("desk", "You are the front desk of a shop.", knowledge=["Open from 9 to 5."])
REFUND = ToolSpec("handoff_to_refund", "Gives money back.", target="refund")
LOOKUP = ToolSpec(
    "look_up",
    "Finds an order.",
    {
        "type": "object",
        "properties": {"order": {"$ref": "#/$defs/Order"}, "urgent": {"type": "boolean"}},
        "required": ["order", "urgent"],
        "$defs": {
            "Order": {
                "type": "object",
                "properties": {"number": {"type": "integer", "minimum": 1, "maximum": 99}},
                "required": ["number"],
                "additionalProperties": False,
            }
        },
    },
)
LOOKED_UP = (
    user("Where is order 7?"),
    Message("assistant", (Text("One moment."), ToolCall("a", "look_up", '{"order": {"number": 7}, "urgent": true}'))),
    Message("tool", (ToolResult("a", "look_up", "sent on Monday"),)),
)
CALL = '{"tool": "look_up","arguments":{"order":{"number":7},"urgent":true}}'


@pytest.fixture(scope="session")
def clients(gguf_file: Path) -> dict[ToolChoice, GgufClient]:
    """One client per tool choice, with replies short enough for a test."""
    choices: tuple[ToolChoice, ...] = ("auto", "required")
    return {choice: GgufClient(gguf_file, max_tokens=60, tool_choice=choice) for choice in choices}


async def reply(client: GgufClient, *messages: Message, tools: tuple[ToolSpec, ...] = ()) -> list[Chunk]:
    return [chunk async for chunk in client.stream(ChatRequest(DESK, messages, tools))]


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    """A path without a file is refused when the client is made, not when somebody waits for its reply."""
    with pytest.raises(UsageError, match=r"nothing\.gguf cannot be read: No such file"):
        GgufClient(tmp_path / "nothing.gguf")


def test_a_file_that_is_something_else_is_said(tmp_path: Path) -> None:
    """A file of another format is refused with what it begins with."""
    (tmp_path / "model.bin").write_bytes(b"PK\x03\x04 a zip file")
    with pytest.raises(UsageError, match=r"model\.bin is not a GGUF file \(it begins with b'PK"):
        GgufClient(tmp_path / "model.bin")


def test_a_missing_package_names_the_extra() -> None:
    """Without xllamacpp the module says which extra to install."""
    program = "import sys; sys.modules['xllamacpp'] = None; import relayline.clients.gguf"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert re.search(r"MissingExtra: .*pip install 'relayline\[local-llm\]'", ran.stderr)


def test_every_chat_template_can_take_the_conversation() -> None:
    """Calls and results become text, and the turns alternate after one system turn that tells of the tools."""
    turns: Any = gguf._chat(ChatRequest(DESK, (*LOOKED_UP, user("And order 8?")), (REFUND, LOOKUP)))
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant", "user"]
    system, _, called, answered = (turn["content"] for turn in turns)
    assert system.startswith("You are the front desk of a shop.\n\nWhat you know:\n- Open from 9 to 5.")
    assert "handoff_to_refund: Gives money back." in system
    assert called == 'One moment.\n{"tool": "look_up", "arguments": {"order": {"number": 7}, "urgent": true}}'
    assert answered == "look_up returned: sent on Monday\n\nAnd order 8?"


def test_an_image_is_a_note() -> None:
    """A model that reads words alone is told that there is something it cannot see."""
    photo = Media.from_bytes(b"png", "image/png", "bike.png")
    turns: Any = gguf._chat(ChatRequest(DESK, [Message("user", (Text("What is this?"), photo))]))
    assert turns[-1]["content"] == "What is this?\n[image: bike.png]"


def test_arguments_are_kept_as_they_were_written() -> None:
    """The JSON that the model wrote becomes a call whose arguments are the same text."""
    call = gguf._parse_call('{"tool": "look_up","arguments": {"text":"\\"arguments\\":}", "n":{"m": 7}}}', "desk")
    assert (call.name, call.arguments) == ("look_up", '{"text":"\\"arguments\\":}", "n":{"m": 7}}')


@pytest.mark.parametrize(
    ("text", "words", "call"),
    [
        ("Hello there.", "Hello there.", ""),
        ("One moment.\n\n" + CALL, "One moment.", CALL),
        (CALL, "", CALL),
        ('In C: int f() {"text";} {"too bad', 'In C: int f() {"text";} {"too bad', ""),
        ('Ends with {"tool', 'Ends with {"tool', ""),
        ("Ends with space \n", "Ends with space \n", ""),
        ('{{"tool":' + CALL.removeprefix('{"tool":'), "{", CALL),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_call_is_told_from_words_in_pieces_of_any_size(text: str, words: str, call: str, size: int) -> None:
    """However a reply is cut into pieces, its words are shown without the call, and nothing is lost."""
    splitter = gguf._Splitter([LOOKUP])
    shown = "".join(splitter.feed(text[at : at + size]) for at in range(0, len(text), size))
    assert (shown + splitter.held, splitter.call) == (words, call)


def test_without_tools_everything_is_words() -> None:
    """An agent without tools may write what looks like a call."""
    assert gguf._Splitter([]).feed(CALL) == CALL


@pytest.mark.gguf
async def test_words_come_in_pieces_and_tokens_last(clients: dict[ToolChoice, GgufClient]) -> None:
    """A reply without tools is several pieces of text, then what it cost; half a character in the prompt is no harm."""
    *words, info = await reply(clients["auto"], user("Say hello. \ud83d"))
    assert len(words) > 1
    assert all(isinstance(piece, str) and piece for piece in words)
    assert isinstance(info, ReplyInfo)
    assert info.model == "SmolLM2-135M-Instruct.Q4_1.gguf"
    assert info.input_tokens > 10
    assert 1 <= info.output_tokens <= 60


@pytest.mark.gguf
async def test_a_required_call_has_the_shape_of_its_tool(clients: dict[ToolChoice, GgufClient]) -> None:
    """With calls required, a reply is exactly one call of a tool, with arguments of its schema, references and all."""
    for tool in (REFUND, LOOKUP):
        call, info = await reply(clients["required"], user("Where is order 7?"), tools=(tool,))
        assert isinstance(call, ToolCall)
        assert isinstance(info, ReplyInfo)
        assert call.id
        assert call.name == tool.name
        arguments: Any = call.parse_arguments()
        if tool is REFUND:
            assert arguments == {}
        else:
            assert set(arguments) == {"order", "urgent"}
            assert 1 <= arguments["order"]["number"] <= 99
            assert isinstance(arguments["urgent"], bool)


@pytest.mark.gguf
async def test_a_colleagues_tool_is_told_of_and_not_called(clients: dict[ToolChoice, GgufClient]) -> None:
    """Where a team shares its prefix the prompt has everybody's tools; the grammar knows those of the agent."""
    request = ChatRequest(DESK, [user("Where is order 7?")], (LOOKUP, REFUND), allowed=[REFUND.name])
    call, _ = [chunk async for chunk in clients["required"].stream(request)]
    assert isinstance(call, ToolCall)
    assert call.name == REFUND.name


@pytest.mark.gguf
@pytest.mark.parametrize("messages", [(user("I want my money back!"),), LOOKED_UP], ids=["user", "result"])
async def test_what_begins_like_a_call_is_one(
    clients: dict[ToolChoice, GgufClient], messages: tuple[Message, ...]
) -> None:
    """With tools at hand the model writes words, a whole call, or words and then a call; no half of one is shown."""
    *said, info = await reply(clients["auto"], *messages, tools=(REFUND, LOOKUP))
    assert isinstance(info, ReplyInfo)
    assert said
    *before, last = said
    words = "".join(piece for piece in (*before, last) if isinstance(piece, str))
    assert '{"tool":' not in words
    assert all(isinstance(piece, str) for piece in before)
    if isinstance(last, ToolCall):
        assert last.name in {"handoff_to_refund", "look_up"}
        last.parse_arguments()


@pytest.mark.gguf
async def test_the_event_loop_goes_on_meanwhile(clients: dict[ToolChoice, GgufClient]) -> None:
    """While the model writes, other tasks run."""
    await reply(clients["auto"], user("hi"))  # loaded from here on
    turns = 0
    replying = asyncio.ensure_future(reply(clients["auto"], user("Tell me of the sea.")))
    while not replying.done():
        turns += 1
        await asyncio.sleep(0.001)
    assert turns > 10


@pytest.mark.gguf
async def test_a_reply_that_nobody_wants_any_more_ends(clients: dict[ToolChoice, GgufClient]) -> None:
    """A reply that is closed, or whose task is cancelled, stops being written; the next one is served."""
    request = ChatRequest(DESK, [user("Count to one thousand.")])
    pieces = clients["auto"].stream(request)
    assert isinstance(await anext(pieces), str)
    await pieces.aclose()  # type: ignore[attr-defined]
    waiting = asyncio.ensure_future(reply(clients["auto"], user("Count to one million.")))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert len(await reply(clients["auto"], user("Say hello."))) > 1


@pytest.mark.gguf
async def test_a_prompt_that_does_not_fit_is_an_error_of_the_model(clients: dict[ToolChoice, GgufClient]) -> None:
    """A prompt longer than the context is a `ModelError` with both sizes and the agent's name; the client lives on."""
    with pytest.raises(ModelError, match=r"tokens\) exceeds the available context size \(4096 tokens\)") as caught:
        await reply(clients["auto"], user("word " * 5000))
    assert caught.value.agent == "desk"
    assert await reply(clients["auto"], user("hi"))


@pytest.mark.gguf
async def test_a_call_that_was_cut_off_is_an_error_of_the_model(gguf_file: Path) -> None:
    """A call that does not end within ``max_tokens`` is a `ModelError` that says what to change, not half a call."""
    client = GgufClient(gguf_file, max_tokens=5, tool_choice="required")
    with pytest.raises(ModelError, match=r"cut off.*max_tokens"):
        await reply(client, user("Where is order 7?"), tools=(LOOKUP,))


@pytest.mark.gguf
async def test_a_file_that_cannot_be_loaded_is_an_error_of_the_model(tmp_path: Path) -> None:
    """A GGUF file that is cut short is a `ModelError` when it is first needed."""
    (tmp_path / "short.gguf").write_bytes(b"GGUF\x03\x00\x00\x00")
    with pytest.raises(ModelError, match=r"llama\.cpp"):
        await reply(GgufClient(tmp_path / "short.gguf"), user("hi"))


def test_it_says_which_file_speaks(tmp_path: Path) -> None:
    """Its name and size, and that it may be wrong, in one line."""
    (tmp_path / "tiny.gguf").write_bytes(b"GGUF" + bytes(2_000_000))
    assert GgufClient(tmp_path / "tiny.gguf").about == (
        "tiny.gguf (2 MB, local, by way of llama.cpp); what it writes may be wrong"
    )
