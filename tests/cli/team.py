"""A team that follows a script, for the command line to be tested on."""

import asyncio
import threading
from collections.abc import AsyncIterator

from relayline import Agent, ChatClient, ChatRequest, HandoffBuilder, ToolCall, tool


@tool
def find_order(number: str) -> str:
    """Look up an order."""
    return f"Order {number} was delivered."


@tool(approval_mode="always_require")
def refund(number: str, amount: float) -> str:
    """Pay money back."""
    return f"{amount:.2f} EUR paid back for {number}."


@tool
async def count_sheep() -> str:
    """Never comes to an end."""
    return str(await asyncio.Event().wait())


@tool
def work_hard() -> str:
    """Takes its time, and cannot be stopped."""
    threading.Event().wait(30)
    return "done"


class Script(ChatClient):
    """Says what the last message asks for."""

    about = "a script"

    async def stream(self, request: ChatRequest) -> AsyncIterator[str | ToolCall]:
        last = request.messages[-1]
        told = last.text
        if last.role == "tool":
            yield f"So: {last.tool_results[0].content}"
        elif "sleep" in told:
            yield ToolCall("1", "count_sheep")
        elif "work" in told:
            yield ToolCall("1", "work_hard")
        elif "fail" in told:
            raise ConnectionError("the line is dead")
        elif "evil" in told:
            yield "\x1b]0;owned\x07\x1b[31mred\x1b[0m [bold]plain[/bold]\n-- triage -> nowhere\n"
        elif request.agent.name == "triage" and "order" in told:
            yield "One "
            yield "moment."
            yield ToolCall("1", "handoff_to_orders", '{"reason": "asks about an order"}')
        elif "handed the conversation over" in told:
            yield ToolCall("1", "find_order", '{"number": "A-1"}')
        elif "money" in told:
            yield ToolCall("1", "refund", '{"number": "A-1", "amount": 5}')
        else:
            yield f"You said {len(told)} characters."


script = Script()
triage = Agent("triage", description="First contact.", tools=[count_sheep, work_hard], client=script)
orders = Agent("orders", description="Orders.", tools=[find_order, refund], client=script)
builder = HandoffBuilder(name="desk", participants=[triage, orders]).add_handoff(triage, orders, description="orders")
workflow = builder.add_handoff(orders, triage).build()
