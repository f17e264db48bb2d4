"""What the tests of a full disk run in another process: a conversation whose disk ends, and is given more room.

``python -m tests.journal.full_disk STORE``: prints, line by line, what somebody who follows the runs is shown.
"""

import asyncio
import resource
import signal
import sys

from relayline import HandoffBuilder, StoreError
from relayline.journal.opening import open_store
from relayline.testing import ScriptedClient


async def main(where: str) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a write that is too long fails, as on a disk that is full
    replies = [f"{number} " + "x" * 2_000 for number in range(1_000)]
    store = open_store(where)
    agent = ScriptedClient(*replies).as_agent("ann")
    workflow = HandoffBuilder(name="desk", participants=[agent]).with_checkpointing(store).build()
    await workflow.run("Hello?", session_id="s")
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    for number in range(1_000):
        try:
            async for event in workflow.run(f"Message {number}", session_id="s"):
                if event.type == "message":
                    print(event.data.text, flush=True)
        except StoreError as error:
            print(f"FULL {error}", flush=True)
            break
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    async for event in workflow.run("Is there room again?", session_id="s"):
        if event.type == "message":
            print(event.data.text, flush=True)
    await store.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
