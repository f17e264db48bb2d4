"""What the world tells the machine."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from relayline.messages import JSON, Message, Text, ToolCall


@dataclass(frozen=True, slots=True)
class UserSaid:
    """A message that answers no request by name.

    It answers an agent's open question, withdraws every other request and interrupts what was going on. ``to``: the
    agent that takes it, instead of whom the pattern would choose.
    """

    message: Message
    to: str = ""


@dataclass(frozen=True, slots=True)
class Words:
    """The user's answer to an agent that waits for one. ``messages``: at least one."""

    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Terminate:
    """The person ends the conversation."""


@dataclass(frozen=True, slots=True)
class Approval:
    """Permission for a call, or its refusal. ``arguments``: JSON text to run the tool with instead of the model's."""

    approved: bool
    reason: str = ""
    arguments: str | None = None


@dataclass(frozen=True, slots=True)
class OutcomeTold:
    """What became of an interrupted call: ``result`` as a person found it, or None to run it again."""

    result: str | None


Response: TypeAlias = Words | Terminate | Approval | OutcomeTold


@dataclass(frozen=True, slots=True)
class Answer:
    """A response to one request, by its local id."""

    request: str
    response: Response


@dataclass(frozen=True, slots=True)
class ModelReplied:
    """A model's reply. ``problems``: what is wrong with calls that cannot run as written, by position among the
    calls.
    """

    effect: str
    parts: tuple[Text | ToolCall, ...]
    problems: Mapping[int, str] = field(default_factory=dict[int, str])
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0
    metadata: Mapping[str, JSON] = field(default_factory=dict[str, JSON])


@dataclass(frozen=True, slots=True)
class ToolDone:
    """A tool returned or raised."""

    effect: str
    content: str
    outcome: Literal["done", "error"] = "done"


@dataclass(frozen=True, slots=True)
class Judged:
    """The termination condition answered."""

    effect: str
    stop: bool


@dataclass(frozen=True, slots=True)
class EffectFailed:
    """An effect could not be had. ``error``: the name of the exception's class; ``cause``: itself, for this process."""

    effect: str
    error: str
    message: str
    cause: BaseException | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Resumed:
    """Whoever had this session's effects in flight is gone; somebody takes it up again."""


Input: TypeAlias = UserSaid | Answer | ModelReplied | ToolDone | Judged | EffectFailed | Resumed
