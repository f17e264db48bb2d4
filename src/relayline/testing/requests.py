"""What providers refuse, checked before one has to: the rules of the strictest of them, in our neutral form."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from relayline.agent import ChatRequest, ToolSpec
from relayline.messages import Media, Message, Part, Text, ToolCall, ToolResult

NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")

PARTS: dict[str, tuple[type[Part], ...]] = {"user": (Text, Media), "assistant": (Text, ToolCall), "tool": (ToolResult,)}


def check_request(request: ChatRequest) -> None:
    """Refuse what OpenAI, Anthropic, Gemini or Mistral would refuse.

    Raises:
        AssertionError: with one sentence that names the message and the rule.
    """
    _check_tools(request.tools)
    assert request.messages, "the request has no messages; providers want at least one"
    check_messages(request.messages)
    last = request.messages[-1]
    assert last.role != "assistant", f"{_where(request.messages, -1)} is the last, and a model answers only others"


def check_messages(messages: Sequence[Message]) -> None:
    """The part of `check_request` that holds for every view, also of an agent that is not about to speak.

    Raises:
        AssertionError: with one sentence that names the message and the rule.
    """
    if not messages:
        return
    assert messages[0].role == "user", f"{_where(messages, 0)} is the first, and a conversation begins with a user's"
    for number, message in enumerate(messages):
        _check_message(message, _where(messages, number))
        if message.role == "tool":  # never the first, that is a user's
            assert messages[number - 1].tool_calls, f"{_where(messages, number)} follows no tool call"
        if message.tool_calls:
            answer = messages[number + 1] if number + 1 < len(messages) else None
            _check_results(message, answer, _where(messages, number))
    ids = Counter(call.id for message in messages for call in message.tool_calls)
    twice = [repr(each) for each, times in ids.items() if times > 1]
    assert not twice, f"tool call ids must be unique in a request; used twice: {', '.join(twice)}"


def _check_tools(tools: Sequence[ToolSpec]) -> None:
    names = [tool.name for tool in tools]
    for name in names:
        assert NAME.fullmatch(name), f"tool name {name!r} is not 1 to 64 of a-z, A-Z, 0-9, _, -"
        assert names.count(name) == 1, f"two tools are called {name!r}"


def _check_message(message: Message, where: str) -> None:
    for part in message.parts:
        assert isinstance(part, PARTS[message.role]), f"{where} holds a {part.kind}, which its role does not allow"
        for text in _texts(part):
            assert _is_unicode(text), f"{where} holds text that is not valid Unicode: {text!r:.60}"
    for each in message.media:
        assert each.problem() is None, f"{where}: {each.problem()}"
    says = bool(message.text.strip() or message.media or message.tool_calls or message.tool_results)
    assert says, f"{where} is empty"
    for call in message.tool_calls:
        assert call.id, f"{where} holds a call of {call.name!r} without an id"
        assert NAME.fullmatch(call.name), f"{where} calls {call.name!r}, which no provider accepts as a tool's name"


def _check_results(asking: Message, answer: Message | None, where: str) -> None:
    calls = [call.id for call in asking.tool_calls]
    if answer is None or answer.role != "tool":
        raise AssertionError(f"{where} calls {', '.join(map(repr, calls))}, and the next message is not their results")
    results = [result.call_id for result in answer.tool_results]
    missing = [each for each in calls if each not in results]
    assert not missing, f"{where}: no result for {', '.join(map(repr, missing))}"
    extra = [each for number, each in enumerate(results) if each not in calls or each in results[:number]]
    assert not extra, f"{where}: results that answer no call of it: {', '.join(map(repr, extra))}"
    assert calls == results, f"{where}: results must come in the order of the calls, as Gemini pairs them by place"
    names = [(call.name, result.name) for call, result in zip(asking.tool_calls, answer.tool_results, strict=True)]
    wrong = [f"{result!r} for {call!r}" for call, result in names if call != result]
    assert not wrong, f"{where}: results under another tool's name: {', '.join(wrong)}"


def _texts(part: Part) -> Iterator[str]:
    match part:
        case Text(text):
            yield text
        case ToolCall(key, name, arguments):
            yield from (key, name, arguments)
        case ToolResult(key, name, content):
            yield from (key, name, content)
        case Media():
            yield from (part.media_type, part.url, part.name)


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _where(messages: Sequence[Message], number: int) -> str:
    message = messages[number]
    by = f" by {message.author_name!r}" if message.author_name else ""
    return f"message {number % len(messages) + 1} of {len(messages)} ({message.role}{by})"
