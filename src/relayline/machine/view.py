"""The conversation as one agent sees it: a pure reading of the log, item by item.

Because every item is shown by itself, a view only ever grows at its end. That keeps a provider's prompt cache warm and
lets a caller render what is new instead of the whole.
"""

import json
from collections.abc import Iterable, Iterator

from relayline.events import HandedBack, HandoffSent, Prompted
from relayline.machine.state import Spoken
from relayline.messages import Message, Text

TEAM = "team"
"""Who speaks where the framework tells an agent something."""


def view(spoken: Iterable[Spoken], agent: str) -> Iterator[Message]:
    """The messages ``agent``'s model is given, oldest first.

    Users' words and the agent's own traffic stand as they are. Colleagues' words are quoted in the user's role under
    their names, so that no model takes them for its own and no request ends on an assistant's message; their calls and
    results are left out. A handoff to the agent is told with its reason, and what the team told it stands where it
    was said.
    """
    for item in spoken:
        shown = _show(item, agent)
        if shown is not None:
            yield shown


def _show(item: Spoken, agent: str) -> Message | None:
    if isinstance(item, HandoffSent):
        return _note(item) if item.target == agent else None
    if isinstance(item, HandedBack):
        text = f"[{item.source}] is done and gives the conversation back to you."
        return Message("user", (Text(text),), item.source) if item.target == agent else None
    if isinstance(item, Prompted):
        return Message("user", (Text(item.text),), TEAM) if item.agent == agent else None
    if item.role == "assistant" and not item.tool_calls and not item.text.strip():
        return None  # a model said nothing at all; no provider takes such a message back
    if item.role == "user" or item.author_name == agent:
        return item
    if item.role == "assistant" and item.text.strip():
        return Message("user", (Text(f"[{item.author_name}] {item.text}"),), item.author_name)
    return None


def _note(handoff: HandoffSent) -> Message:
    reason = f" Reason: {handoff.reason}" if handoff.reason else ""
    payload = f"\n{json.dumps(handoff.payload, ensure_ascii=False)}" if handoff.payload is not None else ""
    text = f"[{handoff.source}] handed the conversation over to you.{reason}{payload}"
    return Message("user", (Text(text),), handoff.source)
