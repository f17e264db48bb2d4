"""Old names of agents and tools to new ones, in all that a conversation is made of."""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple, TypeAlias

from relayline.events import Asked, HandedBack, HandoffSent, Prompted, TeamChanged, Transfer
from relayline.machine.topology import tool_names
from relayline.messages import Message, Part, ToolCall, ToolResult

Spoken: TypeAlias = Message | HandoffSent | HandedBack | Prompted
"""What a view is made from: the messages, and what went on between them."""


def runs_function(call: ToolCall) -> bool:
    """Whether this is the run of a function that has a turn, and no model asked for it; it is called as that is."""
    return "-s" not in call.id


class Names(NamedTuple):
    """Old names to new ones. ``tools``: of handoffs as well, which are named after their targets."""

    agents: Mapping[str, str]
    tools: Mapping[str, str]

    @classmethod
    def of(cls, fact: TeamChanged) -> "Names":
        """What ``fact`` renames."""
        handoffs = tool_names([*fact.renamed, *fact.renamed.values()])
        named_after = {handoffs[old]: handoffs[new] for old, new in fact.renamed.items()}
        return cls(fact.renamed, {**named_after, **fact.renamed_tools})

    def agent(self, name: str) -> str:
        return self.agents.get(name, name)

    def call(self, call: ToolCall) -> ToolCall:
        if runs_function(call):
            return replace(call, name=self.agent(call.name))
        return replace(call, name=self.tools[call.name]) if call.name in self.tools else call

    def result(self, result: ToolResult) -> ToolResult:
        return replace(result, name=self.tools[result.name]) if result.name in self.tools else result

    def transfer(self, wish: Transfer) -> Transfer:
        return replace(wish, target=self.agent(wish.target))

    def asked(self, asked: Asked) -> Asked:
        call = asked.call and self.call(asked.call)
        return replace(asked, agent=self.agent(asked.agent), call=call, ways=tuple(map(self.agent, asked.ways)))

    def handoff(self, fact: HandoffSent) -> HandoffSent:
        return replace(fact, source=self.agent(fact.source), target=self.agent(fact.target))

    def spoken(self, item: Spoken) -> Spoken:
        """One item of the conversation."""
        match item:
            case Message():
                return self.message(item)
            case HandoffSent():
                return self.handoff(item)
            case HandedBack():
                return replace(item, source=self.agent(item.source), target=self.agent(item.target))
            case Prompted():
                return replace(item, agent=self.agent(item.agent))

    def message(self, message: Message) -> Message:
        """A message of an agent; a user may be called like one, and is left alone."""
        if message.role == "user":
            return message
        parts = tuple(map(self._part, message.parts))
        return replace(message, parts=parts, author_name=self.agent(message.author_name))

    def _part(self, part: Part) -> Part:
        if isinstance(part, ToolCall):
            return self.call(part)
        return self.result(part) if isinstance(part, ToolResult) else part
