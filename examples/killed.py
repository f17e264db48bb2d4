"""A conversation whose process is killed again and again: python examples/killed.py

The desk charges and ships twelve orders. `charge` takes a key, as payment providers do: what comes twice under one key
is one payment. `ship` cannot be undone and takes no key, so it must never run twice unasked. This program starts the
desk in a process of its own, kills it with SIGKILL at a random moment and starts it again, until the desk is done. Then
it counts.
"""

import asyncio
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

from relayline import (
    Agent,
    ChatClient,
    ChatRequest,
    HandoffBuilder,
    InterruptedCallRequest,
    ToolCall,
    ToolContext,
    tool,
)
from relayline.journal.sqlite import SqliteCheckpointStorage

ORDERS = 12
FOLDER = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp())


def note(what: str) -> None:
    with (FOLDER / "world.txt").open("a") as world:  # what really happened, whoever dies
        world.write(f"{what}\n")


def happened() -> Counter[str]:
    world = FOLDER / "world.txt"
    return Counter(world.read_text().splitlines()) if world.exists() else Counter()


@tool(repeatable=True)
async def charge(order: int, context: ToolContext) -> str:
    """Take the money for an order."""
    note(f"charged under {context.idempotency_key}")
    await asyncio.sleep(0.1)
    return f"order {order} is paid"


@tool
async def ship(order: int) -> str:
    """Give a parcel to the post office."""
    await asyncio.sleep(0.1)
    note(f"shipped {order}")
    await asyncio.sleep(0.1)
    return f"order {order} is in the post"


class Desk(ChatClient):
    """In place of a model: charges, ships, and says so."""

    async def stream(self, request: ChatRequest) -> AsyncIterator[str | ToolCall]:
        order = sum(message.role == "user" for message in request.messages)
        step = [message.role for message in reversed(request.messages)].index("user")
        calls = {0: ToolCall("1", "charge", f'{{"order": {order}}}'), 2: ToolCall("1", "ship", f'{{"order": {order}}}')}
        yield calls.get(step, f"Order {order} is on its way.")


async def work() -> None:
    """Play the customer, and whoever finds out what became of a parcel."""
    store = SqliteCheckpointStorage(FOLDER / "desk.db")
    desk = HandoffBuilder(participants=[Agent("desk", client=Desk(), tools=[charge, ship])]).with_checkpointing(store)
    workflow = desk.build()
    begun = any(await store.sessions())
    result = await (workflow.run(session_id="s") if begun else workflow.run("Order 1, please.", session_id="s"))
    while True:
        said = sum(message.role == "user" for message in result.conversation)
        if result.requests and isinstance(result.requests[0].data, InterruptedCallRequest):
            request = result.requests[0]
            order = request.data.function_call.parse_arguments()["order"]
            note("somebody was asked about a parcel")
            there = happened()[f"shipped {order}"]
            told = f"order {order} is in the post" if there else request.data.run_again()
            result = await workflow.run(responses={request.request_id: told})
        elif said < ORDERS:
            result = await workflow.run(f"Order {said + 1}, please.", session_id="s")
        else:
            break
    await store.aclose()


def main() -> None:
    killed = 0
    while True:
        desk = subprocess.Popen([sys.executable, __file__, str(FOLDER)])
        try:
            desk.wait(0.5 + random.random())  # seconds, of which it takes some to begin at all
            break
        except subprocess.TimeoutExpired:
            desk.kill()
            killed += 1
    world = happened()
    charged = {what: times for what, times in world.items() if what.startswith("charged")}
    print(f"{ORDERS} orders; the desk was killed {killed} times")
    print(f"charge ran {sum(charged.values())} times, under {len(charged)} keys")
    shipped = Counter(world[f"shipped {order}"] for order in range(1, ORDERS + 1))
    print("; ".join(f"{number} parcels were shipped {times} time(s)" for times, number in shipped.items()))
    print(f"somebody was asked {world['somebody was asked about a parcel']} times what became of a parcel")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(work())
    else:
        main()
