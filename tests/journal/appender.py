"""What the tests of stores run in other processes: a writer of one session, as greedy as it can be.

``python -m tests.journal.appender STORE SESSION NAME SIZE``: say that it is ready; for each line that comes, append a
batch of that many facts, from wherever the journal ends, and print its number once it is acknowledged.
"""

import asyncio
import sys

from relayline import SequenceConflict
from relayline.events import Retried
from relayline.journal.opening import open_store


async def main(where: str, session: str, name: str, size: int) -> None:
    store = open_store(where)
    end = len(await store.read(session))
    say("ready")
    for number, _ in enumerate(sys.stdin):
        batch = [Retried(f"{name} {number} {each}") for each in range(size)]
        while True:
            try:
                end = (await store.append(session, batch, after=end))[-1].seq
                break
            except SequenceConflict:
                end += len(await store.read(session, after=end))
        say(str(number))
    await store.aclose()


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4], int(sys.argv[4])))
