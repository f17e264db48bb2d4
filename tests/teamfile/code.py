"""The code that the files of these tests name."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relayline import Agent, ChatRequest, Message, tool
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


over_as_well = TerminationCondition(over)
patient, quick = retry(3), deadline(30)
client, other_client = ScriptedClient(), ScriptedClient()
robot = Robot("robot", description="Sorts parcels.", client=client)
short = last(4)
Request = ChatRequest
