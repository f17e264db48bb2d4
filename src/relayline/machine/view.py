"""The conversation as one agent sees it: a pure reading of the log, item by item.

Because every item is shown by itself, such a view only ever grows at its end. That keeps a provider's prompt cache warm
and lets a caller render what is new instead of the whole.
"""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TypeAlias

from relayline.events import HandedBack, HandoffSent, Prompted
from relayline.machine.names import Spoken
from relayline.messages import Message, Text

TEAM = "team"
"""Who speaks where the framework tells an agent something."""

Show: TypeAlias = Callable[[Spoken, str], Message | None]
"""How one item of the conversation is shown to one agent; None: not at all."""


def view(spoken: Iterable[Spoken], agent: str, show: Show | None = None) -> Iterator[Message]:
    """The messages ``agent``'s model is given, oldest first; as `text` shows them, unless told otherwise."""
    for item in spoken:
        shown = (show or text)(item, agent)
        if shown is not None:
            yield shown


def text(item: Spoken, agent: str) -> Message | None:
    """Everybody's words, and the agent's own tool traffic.

    Users' words and the agent's own traffic stand as they are. Colleagues' words are quoted in the user's role under
    their names, so that no model takes them for its own and no request ends on an assistant's message; their calls and
    results are left out. A handoff to the agent is told with its reason, and what the team told it stands where it
    was said.
    """
    if isinstance(item, HandoffSent):
        return _note(item) if item.target == agent else None
    if isinstance(item, HandedBack):
        # Who did not answer in time is not done.
        end = f"gives the conversation back to you. {item.reason}" if item.reason else ""
        words = f"[{item.source}] {end or 'is done and gives the conversation back to you.'}"
        return Message("user", (Text(words),), item.source) if item.target == agent else None
    if isinstance(item, Prompted):
        return Message("user", (Text(item.text),), TEAM) if item.agent == agent else None
    if item.role == "assistant" and not item.tool_calls and not item.text.strip():
        return None  # a model said nothing at all; no provider takes such a message back
    if item.role == "user" or item.author_name == agent:
        return item
    if item.role == "assistant" and item.text.strip():
        return Message("user", (Text(f"[{item.author_name}] {item.text}"),), item.author_name)
    return None


def with_results(item: Spoken, agent: str) -> Message | None:
    """As `text`, and what colleagues' tools returned, quoted as data."""
    if isinstance(item, Message) and item.role == "tool" and item.author_name != agent:
        ran = [each for each in item.tool_results if each.outcome == "done"]
        return _quoted(item.author_name, [f"{each.name} returned {_json(each.content)}" for each in ran])
    return text(item, agent)


def full(item: Spoken, agent: str) -> Message | None:
    """As `text`, and all that colleagues did: their calls, every result, and their handoffs to others."""
    if isinstance(item, HandoffSent | HandedBack) and item.target != agent:
        reason = f" Reason: {item.reason}" if item.reason else ""
        return _quoted(item.source, [f"handed the conversation over to {item.target}.{reason}"])
    if isinstance(item, Message) and item.author_name != agent:
        if item.role == "tool":
            results = [f"{each.name}: {each.outcome}, {_json(each.content)}" for each in item.tool_results]
            return _quoted(item.author_name, results)
        if item.role == "assistant":
            words = [item.text] if item.text.strip() else []
            calls = [f"called {each.name} with {each.arguments or '{}'}" for each in item.tool_calls]
            return _quoted(item.author_name, words + calls)
    return text(item, agent)


def sound(messages: Sequence[Message]) -> list[Message]:
    """What is left of messages that somebody chose from when all that no provider would take is gone.

    Calls without their results and results without their calls are dropped, so are calls that were there already and
    what stands before the first word of a user; and a request that would end on the assistant's own words is told to go
    on.
    """
    kept: list[Message] = []
    called: set[str] = set()
    for place, message in enumerate(messages):
        after = messages[place + 1] if place + 1 < len(messages) else None
        if message.role == "tool":
            if kept and _pair(kept[-1], message):
                kept.append(message)
        elif message.tool_calls and not (after and _pair(message, after, called)):
            words = tuple(part for part in message.parts if isinstance(part, Text) and part.text.strip())
            if words:
                kept.append(Message(message.role, words, message.author_name, message.metadata))
        elif message.tool_calls or message.media or message.text.strip():
            called.update(call.id for call in message.tool_calls)
            kept.append(message)
    return begun(kept)


def begun(messages: list[Message]) -> list[Message]:
    """The end of a view as it can be sent: it begins with a user's words, and does not end on an agent's."""
    start = next((place for place, message in enumerate(messages) if message.role == "user"), len(messages))
    del messages[:start]
    if not messages or messages[-1].role == "assistant":
        messages.append(Message("user", (Text("Go on."),), TEAM))
    return messages


def _pair(asking: Message, answer: Message, called: Collection[str] = ()) -> bool:
    calls = [call.id for call in asking.tool_calls]
    return (
        bool(calls)
        and not any(each in called for each in calls)
        and answer.role == "tool"
        and calls == [result.call_id for result in answer.tool_results]
    )


def _quoted(author: str, lines: Sequence[str]) -> Message | None:
    return Message("user", (Text("\n".join(f"[{author}] {line}" for line in lines)),), author) if lines else None


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _note(handoff: HandoffSent) -> Message:
    reason = f" Reason: {handoff.reason}" if handoff.reason else ""
    payload = f"\n{_json(handoff.payload)}" if handoff.payload is not None else ""
    words = f"[{handoff.source}] handed the conversation over to you.{reason}{payload}"
    return Message("user", (Text(words),), handoff.source)
