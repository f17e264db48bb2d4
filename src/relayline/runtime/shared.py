"""One layout for the requests of a whole team, so that a handoff keeps what a provider has in its prompt cache.

All agents have the same instructions and the same list of tools, and the conversation is shown to all of them alike.
Who speaks is told by a message where it changes. So whoever sends the next request, it begins with all of the one
before.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from relayline.agent import Agent, ChatRequest, ToolSpec
from relayline.events import HandedBack, HandoffSent, Prompted
from relayline.machine.names import Spoken
from relayline.machine.view import TEAM, full, text
from relayline.messages import Message, Text

SYSTEM = (
    "Several agents have this conversation, one after the other: {names}. A message that begins with "
    "'[team] You are' says which of them you are from there on, what your task is and which tools are yours; the last "
    "such message counts. Never write one yourself."
)


@dataclass(frozen=True, slots=True, eq=False)
class Shared:
    """``system``: the instructions of all. ``tools``: everybody's. ``told``: what each is told when it takes over."""

    system: str
    tools: tuple[ToolSpec, ...]
    told: dict[str, Message] = field(default_factory=dict[str, Message])

    def show(self, item: Spoken, _: str) -> Message | None:
        """How an item is shown to all: what agents said and did as their own, people's words under their names."""
        match item:
            case HandoffSent() | HandedBack():
                return text(item, item.target)
            case Prompted():
                return text(item, item.agent)
            case Message(author_name=author) if author in self.told:
                return text(item, author)
            case _:
                return full(item, "")

    def lay(self, shown: Sequence[Message], agent: str) -> list[Message]:
        """The messages of ``agent``'s request: all that was ``shown``, and whose part each reply is."""
        laid: list[Message] = []
        voice = ""
        for message in shown:
            if message.role == "assistant" and message.author_name != voice:
                laid.insert(len(laid) if voice else 0, self.told[message.author_name])
                voice = message.author_name
            laid.append(message)
        if agent != voice:
            laid.insert(len(laid) if voice else 0, self.told[agent])
        return laid


def shared(agents: Sequence[Agent], everybody: Sequence[str], offered: dict[str, tuple[ToolSpec, ...]]) -> Shared:
    """The layout of a team. ``everybody``: the names of agents and people. ``offered``: each agent's own tools."""
    specs = [spec for each in agents for spec in offered[each.name]]
    by_name = {spec.name: spec for spec in sorted(specs, key=lambda spec: bool(spec.target))}
    told = {each.name: _told(each, [spec.name for spec in offered[each.name]], bool(by_name)) for each in agents}
    return Shared(SYSTEM.format(names=", ".join(everybody)), tuple(by_name.values()), told)


def _told(agent: Agent, tools: Sequence[str], any_tools: bool) -> Message:
    parts = [f"[{TEAM}] You are {agent.name} from here on.", ChatRequest(agent, ()).instructions]
    if any_tools:
        parts.append(f"Your tools: {', '.join(tools) or 'none'}. The others are your colleagues'.")
    return Message("user", (Text("\n\n".join(filter(None, parts))),), TEAM)
