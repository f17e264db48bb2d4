"""The code that the files of these tests name."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relayline import Agent, ChatRequest, ExecutorContext, GroupChatState, Message, executor, tool
from relayline.conditions import TerminationCondition
from relayline.middleware import deadline, retry
from relayline.testing import ScriptedClient
from relayline.views import last

SECRET = "a value, and no tool"


@dataclass(frozen=True)
class Claim:
    """What a refund needs."""

    order: str
    euros: float = 0


@dataclass(frozen=True)
class Robot(Agent):
    """An agent of a class of its own."""

    model_number: int = 5


@tool(repeatable=True)
def find_order(order: str) -> str:
    """Look an order up."""
    return f"{order} is on its way"


@tool(approval_mode="always_require")
def refund(order: str) -> str:
    """Pay money back."""
    return f"paid for {order}"


def weigh(parcel: str) -> float:
    """Put a parcel on the scales."""
    return len(parcel)


_hidden = tool(weigh, name="hidden")
light = tool(weigh, name="weigh_lightly", description="Only for light parcels.")


def broken(transcript: Sequence[Message], state: Mapping[str, Any]) -> bool:
    """Whether the device is broken."""
    del transcript
    return bool(state.get("broken"))


async def late(transcript: Sequence[Message], state: Mapping[str, Any]) -> bool:
    """Whether it is late."""
    del transcript, state
    return False


def brief(messages: Sequence[Message], agent: str) -> Sequence[Message]:
    """Only the newest."""
    del agent
    return messages[-1:]


def over(transcript: Sequence[Message]) -> bool:
    """Whether everything is said."""
    return len(transcript) > 90


async def judged(transcript: Sequence[Message]) -> bool:
    """As `over`, and it takes its time."""
    return over(transcript)


def logged(perform: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """A middleware that does nothing."""
    return perform


@executor(repeatable=True)
def count(text: str) -> Claim:
    """Count the words."""
    return Claim(text, len(text.split()))


def stamp(text: str) -> str:
    """Put a date on it."""
    return text


@executor(name="asks jo")
async def ask_jo(text: str, context: ExecutorContext) -> str:
    return await context.request_info(text, str)


def pay(claim: Claim) -> str:
    """Pay it."""
    return claim.order


def gather(said: list[Message]) -> str:
    """One of all."""
    return " ".join(each.text for each in said)


def is_claim(value: Any) -> bool:
    """Whether it is about money."""
    return isinstance(value, Claim)


async def is_long(value: Any) -> bool:
    """Whether there is much of it."""
    return len(str(value)) > 99


def some(value: Any, names: list[str]) -> list[str]:
    """The first."""
    del value
    return names[:1]


def in_order(chat: GroupChatState) -> str | None:
    """One after the other, once."""
    return chat.participants[chat.rounds] if chat.rounds < len(chat.participants) else None


over_as_well = TerminationCondition(over)
patient, quick = retry(3), deadline(30)
client, other_client = ScriptedClient(), ScriptedClient()
robot = Robot("robot", description="Sorts parcels.", client=client)
short = last(4)
Request = ChatRequest
