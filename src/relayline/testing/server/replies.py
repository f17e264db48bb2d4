"""What a fake provider can be told to answer: `ScriptedClient`'s vocabulary, and what only a wire can do."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import TypeAlias

from relayline.agent import ReplyInfo
from relayline.messages import ToolCall
from relayline.testing.providers.rules import Body


@dataclass(frozen=True, slots=True)
class Fail:
    """An error of the provider: an HTTP status, or, after words in a list, an error in the stream.

    ``retry_after``: seconds. ``code``: the provider's own word for it, where the usual one of ``status`` will not do:
    OpenAI's ``code`` (``context_length_exceeded``), Anthropic's ``type`` or Gemini's ``status``.
    """

    status: int
    message: str = "told to fail"
    retry_after: float | None = None
    code: str = ""


@dataclass(frozen=True, slots=True)
class Hang:
    """Silence, for ``seconds`` or until the provider is closed; after that the reply goes on."""

    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection dies here, without a word."""


@dataclass(frozen=True, slots=True)
class Thinking:
    """A model's thoughts, with the signature that lets them be sent back.

    Anthropic: a thinking block. Responses: a reasoning item, whose ``encrypted_content`` is the signature. Gemini: a
    thought, and the signature, in base64, on the part after it. Chat Completions: ``reasoning_content``, as vLLM and
    DeepSeek have it; there is no signature on that wire.
    """

    text: str
    signature: str = "signature"


Stop: TypeAlias = Fail | Hang | Cut
WireChunk: TypeAlias = str | ToolCall | ReplyInfo | Thinking | Stop
WireReply: TypeAlias = WireChunk | Sequence[WireChunk] | Callable[[Body], WireChunk | Sequence[WireChunk]]
"""Words, a call, thoughts, a list of chunks, or a function of the request's body that returns one of these.

A `Fail`, `Hang` or `Cut` in a list comes after what stands before it. Of a `ReplyInfo` the wire shows the model and the
tokens; its metadata may hold ``cached_tokens``, ``reasoning_tokens`` and a ``finish_reason`` of ``length`` or
``content_filter``.
"""

PIECES = 3  # a call's arguments come in so many deltas, if they are long enough
USAGE = ReplyInfo(input_tokens=100, output_tokens=10)  # a real provider always has some


@dataclass(frozen=True, slots=True)
class Block:
    """Words, thoughts or a call, in the pieces in which they are streamed. ``of`` is empty for words."""

    of: ToolCall | Thinking | None
    pieces: tuple[str | Stop, ...]

    @property
    def text(self) -> str:
        return "".join(piece for piece in self.pieces if isinstance(piece, str))


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply as the dialects render it. ``opening``: what goes wrong before its first block."""

    number: int
    model: str
    body: Body
    opening: tuple[Stop, ...]
    blocks: tuple[Block, ...]
    info: ReplyInfo = field(default=USAGE)

    @property
    def text(self) -> str:
        return "".join(block.text for block in self.blocks if block.of is None)

    @property
    def thoughts(self) -> str:
        return "".join(block.text for block in self.blocks if isinstance(block.of, Thinking))

    @property
    def calls(self) -> list[ToolCall]:
        return [block.of for block in self.blocks if isinstance(block.of, ToolCall)]

    @property
    def stops(self) -> list[Stop]:
        """All that goes wrong, wherever."""
        inner = [piece for block in self.blocks for piece in block.pieces if not isinstance(piece, str)]
        return [*self.opening, *inner]

    @property
    def finish(self) -> str:
        """Why the model stopped, in the words of Chat Completions."""
        return str(self.info.metadata.get("finish_reason") or ("tool_calls" if self.calls else "stop"))

    def tokens(self, kind: str) -> int:
        """``cached_tokens`` or ``reasoning_tokens``."""
        count = self.info.metadata.get(kind)
        return count if isinstance(count, int) else 0


def answer_to(body: Body, reply: WireReply, *, number: int, model: str, call_id: str) -> Answer:
    """The reply to request ``number``; ``call_id``: how the id begins that a call without one gets, if any."""
    given = reply(body) if callable(reply) else reply
    chunks = [given] if isinstance(given, WireChunk) else list(given)
    for chunk in chunks:
        if not isinstance(chunk, WireChunk):  # pyright: ignore[reportUnnecessaryIsInstance] -- a test is not ours
            raise TypeError(f"a reply over a wire cannot hold {chunk!r:.80}; for an exception say Fail or Cut")
    info = reduce(_merged, (chunk for chunk in chunks if isinstance(chunk, ReplyInfo)), USAGE)
    steps = [chunk for chunk in chunks if not isinstance(chunk, ReplyInfo)]
    if call_id:
        steps = [
            replace(step, id=f"{call_id}{number}_{place}") if isinstance(step, ToolCall) and not step.id else step
            for place, step in enumerate(steps)
        ]
    opening, blocks = _blocks(steps)
    return Answer(number, info.model or model, body, opening, blocks, info)


def _merged(old: ReplyInfo, new: ReplyInfo) -> ReplyInfo:
    return ReplyInfo(
        new.model or old.model,
        new.input_tokens or old.input_tokens,
        new.output_tokens or old.output_tokens,
        {**old.metadata, **new.metadata},
    )


def _blocks(steps: Iterable[str | ToolCall | Thinking | Stop]) -> tuple[tuple[Stop, ...], tuple[Block, ...]]:
    """Words in a row are one block, and what goes wrong belongs to the block before it: that one is never closed."""
    opening: list[Stop] = []
    blocks: list[Block] = []
    for step in steps:
        match step:
            case Fail() | Hang() | Cut() if not blocks:
                opening.append(step)
            case Fail() | Hang() | Cut():
                blocks[-1] = replace(blocks[-1], pieces=(*blocks[-1].pieces, step))
            case str() if blocks and blocks[-1].of is None:
                blocks[-1] = replace(blocks[-1], pieces=(*blocks[-1].pieces, step))
            case str():
                blocks.append(Block(None, (step,)))
            case Thinking(text):
                blocks.append(Block(step, (text,)))
            case ToolCall():
                blocks.append(Block(step, tuple(_split(step.arguments))))
    return tuple(opening), tuple(blocks)


def _split(text: str) -> list[str]:
    size = -(-len(text) // PIECES) or 1
    return [text[start : start + size] for start in range(0, len(text), size)]
