"""Where a conversation stands for the agent whose turn it is, read from the messages alone: nothing is remembered."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from relayline.clients.words import ends
from relayline.messages import JSON, Message, ToolCall, ToolResult

LOOKED_BACK = 60
"""Messages that are read, from the end. What was said before that is not used."""

_QUESTION = re.compile(r"^I need .+ for that\.$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Scene:
    """What there is to go by, newest first where there are several.

    ``said``: the user's last message. ``request``: the one that began the matter, if ``said`` answers a question of
    ours. ``earlier``: the user's other messages. ``facts``: what our tools have returned, and notes of handovers.
    ``asked``: what our question was, when ``said`` follows one. ``via``: colleagues who had this message before us or
    to whom we tried to give it. ``arrived``: it was handed to us. ``was_with``: the colleague who spoke just before
    ``said``. ``results``: what our last calls came to, when that is to be told. ``calls``: all we called for ``said``.
    ``past``: our calls before it, and ``last_tool`` the last of their names. ``shown``: ``said`` came
    with images or files.
    """

    said: str = ""
    request: str = ""
    earlier: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    asked: Mapping[str, JSON] | None = None
    via: frozenset[str] = frozenset()
    arrived: bool = False
    was_with: str = ""
    results: tuple[tuple[ToolCall, ToolResult], ...] = ()
    calls: tuple[tuple[ToolCall, ToolResult], ...] = ()
    past: tuple[tuple[ToolCall, ToolResult], ...] = ()
    last_tool: str = ""
    shown: bool = False


def read(messages: Sequence[Message], handoffs: Mapping[str, str]) -> Scene:
    """Read the end of a transcript. ``handoffs``: which agent each handoff tool leads to."""
    recent = messages[-LOOKED_BACK:]
    users = [at for at, message in enumerate(recent) if is_users(message)]
    last = users[-1] if users else -1
    since = recent[last + 1 :]
    calls = tuple(_answered(since))
    colleagues = {message.author_name for message in since if message.role == "user"}
    tried = {handoffs[call.name] for call, _ in calls if call.name in handoffs}
    asked = _question_before(recent, last)
    before = recent[last - 1] if last > 0 else None
    return Scene(
        said=ends(recent[last].text).strip() if users else "",
        request=_request(recent, users),
        earlier=tuple(ends(recent[at].text) for at in reversed(users[:-1])),
        facts=tuple(_facts(recent, handoffs)),
        asked=asked,
        via=frozenset(colleagues | tried),
        arrived=bool(colleagues),
        was_with=before.author_name if before is not None and before.role == "user" and not is_users(before) else "",
        results=tuple(_answered(since[-2:])) if recent and recent[-1].role == "tool" else (),
        calls=calls,
        past=tuple(_answered(recent[: max(last, 0)])),
        last_tool=_last_tool(recent[: max(last, 0)], handoffs),
        shown=bool(users and recent[last].media),
    )


def is_users(message: Message) -> bool:
    """Whether the user said it: colleagues' words stand in the user's role too, behind the colleague's name."""
    return message.role == "user" and not (message.author_name and message.text.startswith(f"[{message.author_name}"))


def _answered(messages: Sequence[Message]) -> Iterator[tuple[ToolCall, ToolResult]]:
    calls: dict[str, ToolCall] = {}
    for message in messages:
        calls |= {call.id: call for call in message.tool_calls}
        for result in message.tool_results:
            yield calls.get(result.call_id) or ToolCall(result.call_id, result.name), result


def _facts(messages: Sequence[Message], handoffs: Mapping[str, str]) -> Iterator[str]:
    for message in reversed(messages):
        for result in message.tool_results:
            if result.outcome == "done" and result.name not in handoffs:
                yield result.content
        if message.role == "user" and not is_users(message) and "handed the conversation" in message.text[:120]:
            yield message.text


def _question_before(messages: Sequence[Message], at: int) -> Mapping[str, JSON] | None:
    """What we asked just before the user's message at ``at``; what colleagues said between does not matter."""
    for message in reversed(messages[: max(at, 0)]):
        if is_users(message) or message.role == "tool":
            return None
        if message.role == "assistant":
            if message.metadata.get("decision") == "asked":
                return message.metadata
            # A transcript that came without its metadata: our questions have one form.
            return {"decision": "asked"} if _QUESTION.match(message.text) else None
    return None


def _request(messages: Sequence[Message], users: Sequence[int]) -> str:
    """The message that began the matter: back over all our questions for the same tool."""
    tool: JSON = None
    for at in reversed(users):
        asked = _question_before(messages, at)
        if asked is None or (tool is not None and asked.get("tool") != tool):
            return ends(messages[at].text).strip()
        tool = asked.get("tool", "")
    return ""


def _last_tool(messages: Sequence[Message], handoffs: Mapping[str, str]) -> str:
    names = [call.name for message in messages for call in message.tool_calls if call.name not in handoffs]
    return names[-1] if names else ""
