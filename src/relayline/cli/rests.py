"""``relayline checkpoints list``: where sessions rested."""

from collections.abc import Sequence

from relayline.cli.clean import one_line
from relayline.cli.opened import summary_of
from relayline.cli.sessions import local
from relayline.cli.table import table
from relayline.cli.waiting import KINDS
from relayline.errors import DamagedJournal
from relayline.journal.checkpoints import Checkpoint
from relayline.journal.store import Store
from relayline.messages import JSON

HEAD = ("CHECKPOINT", "WHEN", "WITH", "WAITS FOR")


async def rests(store: Store, session_id: str | None) -> tuple[list[Checkpoint], list[Exception]]:
    """The checkpoints of a session or of all, the newest last, and the sessions that cannot be read.

    Raises:
        SessionNotFound: there is no such session.
    """
    found: list[Checkpoint] = []
    damaged: list[Exception] = []
    wanted = await store.sessions() if session_id is None else [await summary_of(store, session_id)]
    for each in wanted:
        try:
            found += await store.list_checkpoints(each.session_id)
        except DamagedJournal as error:
            damaged.append(error)
    return sorted(found, key=lambda each: each.timestamp), damaged


def as_table(found: Sequence[Checkpoint]) -> str:
    """A checkpoint per line, all of it on a terminal too: ids are there to be copied."""
    return table(HEAD, [_row(each) for each in found])


def as_json(each: Checkpoint) -> dict[str, JSON]:
    """A checkpoint for programs."""
    return {
        "checkpoint_id": each.checkpoint_id,
        "session_id": each.session_id,
        "seq": each.seq,
        "timestamp": each.timestamp.isoformat(),
        "active_agent": each.active_agent,
        "requests": [{"request_id": key, "kind": KINDS[asked.ask]} for key, asked in each.requests.items()],
    }


def _row(each: Checkpoint) -> tuple[str, ...]:
    waits = ", ".join(f"{one_line(key)} ({KINDS[asked.ask]})" for key, asked in each.requests.items())
    return one_line(each.checkpoint_id), local(each.timestamp), one_line(each.active_agent), waits
