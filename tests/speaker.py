"""What a test runs in two processes at once: somebody who has much to say to one session, and says nothing twice.

``python speaker.py DATABASE SESSION NAME COUNT``: say that it is ready, wait for a line, say COUNT messages one after the
other, print what became of each, and the problems with any request.
"""

import asyncio
import json
import sys
from collections import Counter

from relayline import Agent, HandoffBuilder, SequenceConflict, ToolCall, tool
from relayline.agent import ChatClient, ChatRequest
from relayline.journal.sqlite import SqliteCheckpointStorage
from relayline.testing import check_request


@tool(repeatable=True)
async def look(number: int) -> str:
    """Look something up."""
    return str(number)


class Strict(ChatClient):
    """Calls the tool or hands over now and then, else answers; a request no provider would take is a problem."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    async def stream(self, request: ChatRequest):
        try:
            check_request(request)
        except AssertionError as problem:
            self.problems.append(str(problem))
        place = len(request.messages) % 5
        await asyncio.sleep(0)
        if place == 0:
            yield ToolCall("1", "look", '{"number": 7}')
        elif place == 1:
            yield ToolCall("1", next(spec.name for spec in request.tools if spec.target))
        else:
            yield "I see."


async def main(path: str, session: str, name: str, count: int) -> None:
    client = Strict()
    agents = [Agent(each, tools=[look], client=client) for each in ("ann", "bob")]
    store = SqliteCheckpointStorage(path)
    workflow = HandoffBuilder(name="two", participants=agents).with_checkpointing(store).build()
    say("ready")
    sys.stdin.readline()
    became: Counter[str] = Counter()
    for number in range(count):
        try:
            await workflow.run(f"{name} {number}", session_id=session)
            became["answered"] += 1
        except SequenceConflict:  # on record, and the other goes on with it
            became["taken over"] += 1
    await store.aclose()
    say(json.dumps({**became, "problems": client.problems}))


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4], int(sys.argv[4])))
