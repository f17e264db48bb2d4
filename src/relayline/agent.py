"""Agents, and the one method a model has to offer to be one's voice."""

import importlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, cast

from relayline.errors import BuildError
from relayline.messages import JSON, Message, Text, ToolCall
from relayline.tools import ApprovalMode, Tool, Toolset, as_tools


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as a model is shown it. ``parameters`` is a JSON Schema (draft 2020-12) of type object.

    ``target`` names the agent a handoff tool leads to and is empty for ordinary tools; ``examples`` are messages the
    target is good at. Most models need neither: the description says it.
    """

    name: str
    description: str = ""
    parameters: Mapping[str, JSON] = field(default_factory=dict[str, JSON])
    target: str = ""
    examples: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """All that a model is given for one reply.

    ``messages``: oldest first; every message with tool calls is followed at once by one tool message that holds all
    their results, and the last message is never an assistant's. ``tools``: the agent's own in their declared order,
    then its handoffs in theirs. ``output``: the JSON Schema, of type object and with a ``title``, that a reply without
    calls has to fit; None: words will do. ``overrides``: the run's settings, before the agent's.

    ``session``: an id, for clients that keep something by it. Where a team shares its prefix, ``common`` is what all
    agents are told, and the tools are everybody's, of which the agent may call those that ``allowed`` names.
    """

    agent: "Agent"
    messages: Sequence[Message]
    tools: Sequence[ToolSpec] = ()
    session: str = ""
    common: str = ""
    allowed: Sequence[str] | None = None
    output: Mapping[str, JSON] | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def own_tools(self) -> Sequence[ToolSpec]:
        """Those of the tools that the agent may call."""
        return self.tools if self.allowed is None else [spec for spec in self.tools if spec.name in self.allowed]

    @property
    def settings(self) -> Mapping[str, Any]:
        """The agent's settings, with those of the run in their place."""
        return {**self.agent.settings, **self.overrides}

    @property
    def instructions(self) -> str:
        """The system prompt: the agent's instructions, then what it knows; or what the whole team is told."""
        if self.common:
            return self.common
        knowledge = "\n".join(f"- {line}" for line in self.agent.knowledge)
        return "\n\n".join(
            part for part in (self.agent.instructions, knowledge and f"What you know:\n{knowledge}") if part
        )


@dataclass(frozen=True, slots=True)
class ReplyInfo:
    """What a client knows about its reply beside the words. Yield it at any time; several are merged, later ones win.

    ``input_tokens`` counts cached tokens too, ``cached_tokens`` only these. ``metadata`` is kept beside the message and
    never sent to a model. ``native`` comes back to the client as the message's, in later requests of the same agent.
    """

    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    metadata: Mapping[str, JSON] = field(default_factory=dict[str, JSON])
    cached_tokens: int = 0
    native: Mapping[str, JSON] = field(default_factory=dict[str, JSON], repr=False)


Chunk: TypeAlias = str | ToolCall | ReplyInfo
"""One piece of a reply: words as they come, a tool call once it is complete, or facts about the reply."""


class Participant(Protocol):
    """Whoever can hold the conversation: an `Agent`, or any object with a name that answers a `ChatRequest`.

    The request offers it its handoffs, as tools; it takes one by yielding a `ToolCall`. What else it has of an agent's
    attributes (``description``, ``instructions``, ``tools``...) counts as an agent's does; it is used as it is, never
    copied or changed.
    """

    @property
    def name(self) -> str: ...

    def stream(self, request: "ChatRequest") -> "AsyncIterator[Chunk]":
        """As `ChatClient.stream`."""
        ...


class ChatClient(Protocol):
    """A model. Implement `stream`; subclass to get `as_agent` as well."""

    def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        """Answer with words, tool calls or both, piece by piece (an async generator is the easy way).

        The ids of tool calls only need to differ within one reply. Any exception ends the attempt: the run fails with a
        `ModelError` that names the agent, and can be retried. Cancellation arrives as usual and must not be swallowed.
        """
        ...

    async def complete(self, request: ChatRequest) -> Message:
        """The whole reply as one message, for asking a model something outside of a team."""
        parts: list[Text | ToolCall] = []
        metadata: dict[str, JSON] = {}
        native: dict[str, JSON] = {}
        async for chunk in self.stream(request):
            if isinstance(chunk, ReplyInfo):
                metadata.update(chunk.metadata)
                native.update(chunk.native)
            elif isinstance(chunk, ToolCall):
                parts.append(chunk)
            elif parts and isinstance(parts[-1], Text):
                parts[-1] = Text(parts[-1].text + chunk)
            else:
                parts.append(Text(chunk))
        return Message("assistant", tuple(parts), request.agent.name, metadata, native)

    def as_agent(
        self,
        name: str,
        instructions: str = "",
        description: str = "",
        tools: "Sequence[Tool | Callable[..., Any] | Toolset]" = (),
        knowledge: Sequence[str] = (),
        examples: Sequence[str] = (),
        settings: Mapping[str, Any] | None = None,
        output_type: Any = None,
    ) -> "Agent":
        """An agent that speaks through this client."""
        return Agent(name, instructions, description, tools, self, knowledge, examples, settings or {}, output_type)


def as_client(given: ChatClient | str) -> ChatClient:
    """The client itself, or the one that ``"provider:model"`` names.

    Raises:
        UsageError: there is no such provider, or its key is missing.
        MissingExtra: the packages of real models are not installed.
    """
    if not isinstance(given, str):
        return given
    # By name, because clients are a layer above whatever takes one, and because loading them takes seconds.
    return importlib.import_module("relayline.clients.models").client(given)


@dataclass(frozen=True)  # without slots: a subclass could not set attributes of its own
class Agent:
    """Who can hold the conversation: a name, what it is told, what it can do.

    An agent is a value. It is never cloned or changed by the teams it sits in, so one agent may sit in many, and one of
    a subclass stays what it is. A subclass with a ``stream`` of its own speaks for itself and needs no client.

    ``description`` is for the others: it is what a colleague's model reads when choosing whom to hand over to.
    ``instructions`` are for its own model. ``knowledge``: sentences the agent may rely on and quote; they join the
    instructions. ``examples``: messages this agent is the right one for. ``tools``: functions, `Tool` values, or a
    whole server of them (`relayline.mcp.MCPServer`), kept in order. ``client`` is a client or the name of a model,
    ``"anthropic:claude-sonnet-5"``, or a list of them: where one fails, the next is asked. It may be left out where the
    one who runs the team brings it (``workflow.with_client``, ``relayline chat --model``). ``settings`` are for the
    client: ``temperature``, ``max_tokens``... ``output_type``: a pydantic model or a dataclass that each reply without
    calls is the JSON of.
    """

    name: str
    instructions: str = ""
    description: str = ""
    tools: "Sequence[Tool | Callable[..., Any] | Toolset]" = ()
    client: ChatClient | str | Sequence[ChatClient | str] | None = None
    knowledge: Sequence[str] = ()
    examples: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    output_type: Any = None

    def __post_init__(self) -> None:
        for field_name in ("tools", "knowledge", "examples"):
            if isinstance(getattr(self, field_name), str):
                raise BuildError(f"RL121 {field_name} of agent {self.name!r} is a list; got one string")
        # A list the caller goes on appending to must not change the agent.
        object.__setattr__(self, "tools", tuple(as_tools(self.tools)))
        if isinstance(self.client, list):
            object.__setattr__(self, "client", tuple(self.client))
        object.__setattr__(self, "knowledge", tuple(self.knowledge))
        object.__setattr__(self, "examples", tuple(self.examples))
        if not isinstance(self.settings, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance] -- not all check types
            raise BuildError(f"settings of agent {self.name!r} are a mapping of names to values; got {self.settings!r}")
        object.__setattr__(self, "settings", dict(self.settings))

    def as_tool(
        self,
        name: str | None = None,
        description: str | None = None,
        *,
        approval_mode: ApprovalMode = "never_require",
    ) -> Tool:
        """This agent as a tool of others: it is given one task, works on it by itself, and its answer is the result.

        The caller keeps the conversation, of which this agent sees nothing. What it does is a conversation of its own:
        shown as ``progress`` events, and kept in the same store as the caller's under an id that begins with the call's
        idempotency key. It speaks through its own client, else through the caller's.

        ``name``: default, the agent's. ``description``: default, the agent's: when to call it.

        Raises:
            BuildError: if it is a person, or the name cannot be a tool's.
        """
        made = importlib.import_module("relayline.delegated").delegate(self, name, description, approval_mode)
        return cast("Tool", made)


@dataclass(frozen=True)
class HumanAgent(Agent):
    """A participant who is a person: whoever has the conversation with them waits for what they say.

    Their turn is a ``request_info`` event whose data is a `HumanTurnRequest`. They may answer, hand over to a colleague
    the team declared, or hand back; it may take days, and the process may end meanwhile.
    """


class Member(Protocol):
    """Whoever sits in a team: an agent, a person, a function."""

    @property
    def name(self) -> str: ...


Named: TypeAlias = Member | str
"""Whoever sits in a team, or their name."""
