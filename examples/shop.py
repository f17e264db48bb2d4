"""A hi-fi shop's desk, and roads that do not all lead both ways. Type at it: relayline chat examples/shop.py"""

import asyncio
from contextlib import suppress
from typing import Annotated

from pydantic import BaseModel, Field

from relayline import FunctionApprovalRequestContent, HandoffBuilder, ToolContext, tool
from relayline.clients.local import EmbeddedClient

ORDERS = {"B-2001": "headphones Lark, 89 euros, delivered", "B-2002": "speaker Boom, 149 euros, comes on Friday"}
SELF_TESTS = {"B-2001": "left side silent: broken", "B-2002": "no fault found"}
Order = Annotated[str, Field(pattern=r"^B-\d{4}$", description="The order number, for example B-2001")]


class Claim(BaseModel):
    """The number of the order, for example B-2001"""

    order: Order


@tool(repeatable=True)
def find_order(order: Order) -> str:
    """Look up an order: what is in it, where the parcel is and when it comes."""
    return f"Order {order}: {ORDERS.get(order, 'there is no such order')}."


@tool(repeatable=True)
def check_device(order: Order, context: ToolContext) -> str:
    """Check a device that makes no sound or does not work: read the self-test it has sent."""
    context.state["broken"] = "broken" in (found := SELF_TESTS.get(order, "nothing has been sent"))
    return f"The self-test of the device from order {order}: {found}."


@tool(approval_mode="always_require")
def refund(order: Order) -> str:
    """Refund an order: pay the money back."""
    return f"The money for order {order} is on its way back." if order in ORDERS else f"There is no order {order}."


model = EmbeddedClient()  # or any model of yours: a class with one method
DEVICES = "Technical help: a device that does not work, makes no sound, does not pair or charge."
TIPS = ["To pair Lark, hold both buttons until the light is blue.", "We refund a device that is found to be broken."]
triage = model.as_agent("triage", description="Front desk: receives everybody.", knowledge=["We are open 9 to 18."])
orders = model.as_agent("orders", description="Orders: where a parcel is, when it comes.", tools=[find_order])
technical = model.as_agent("technical", description=DEVICES, tools=[check_device], knowledge=TIPS)
refunds = model.as_agent("refunds", description="Refund: wants the money back.", tools=[refund])

shop = (
    HandoffBuilder(name="shop", participants=[triage, orders, technical, refunds])
    .add_handoff(triage, orders, description="where something is that was ordered, when it comes; the money back")
    .add_handoff(triage, technical)
    .add_handoff(orders, technical, description="a device that does not work, makes no sound, does not pair")
    .add_handoff(technical, orders, description="where a parcel is, when it comes")
    .add_handoff(orders, refunds, payload=Claim, returns="start")
    .add_handoff(technical, refunds, payload=Claim, returns="start", when=lambda _, state: state.get("broken") is True)
    .with_terminal_agents([refunds])
    .build()
)


async def turn(text: str, asked: list[str]) -> list[str]:
    gated, answers = list[str](), dict.fromkeys(asked, text == "yes")
    async for event in shop.run(None if asked else text, session_id="me", responses=answers):
        if event.type == "handoff_sent":
            print(f"-- {event.data.source} -> {event.data.target}")
        elif event.type == "message" and event.executor_id and event.data.text:
            print(f"{event.executor_id}: {event.data.text}")
        elif event.type == "request_info" and isinstance(event.data, FunctionApprovalRequestContent):
            print(f"?? {event.executor_id}: {event.data.function_call.name} {event.data.function_call.arguments}")
            gated.append(event.request_id)
    return gated


if __name__ == "__main__":
    waiting: list[str] = []
    with suppress(EOFError, KeyboardInterrupt):
        while line := input("yes, or anything to refuse: " if waiting else "you: "):
            waiting = asyncio.run(turn(line, waiting))
