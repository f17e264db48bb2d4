"""``relayline sessions check``: what would become of the sessions of a team that has changed."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

from relayline.cli.clean import one_line
from relayline.cli.places import store_place
from relayline.cli.target import load
from relayline.cli.teams import brings_a_store, placed
from relayline.messages import JSON
from relayline.upgrades import SessionUpgrade, as_table
from relayline.workflow import Workflow


def reports(target: str | None, store: str | None) -> Sequence[SessionUpgrade]:
    """What would become of each session of the team, the oldest first; no model is needed for it.

    Raises:
        UsageError, WorldError: the team or its store cannot be had.
    """
    workflow = load(target)
    if not (brings_a_store(workflow, store) or store_place(store).is_there):
        return ()  # looking does not make one
    return asyncio.run(_reports(placed(workflow, store)))


def uneasy(report: SessionUpgrade) -> bool:
    """Whether somebody has to see to it before the change goes out."""
    return report.fate in ("refused", "needs_person", "damaged")


def as_text(found: Sequence[SessionUpgrade]) -> str:
    """A line for each session, what differs and what follows below it, and a count."""
    return as_table([_harmless(each) for each in found])


def as_json(each: SessionUpgrade) -> dict[str, JSON]:
    """The same for programs."""
    return {
        "session_id": each.session_id,
        "fate": each.fate,
        "differences": each.differences,
        "consequences": each.consequences,
    }


async def _reports(workflow: Workflow) -> Sequence[SessionUpgrade]:
    async with aclosing(workflow.store):
        return await workflow.affected_sessions()


def _harmless(each: SessionUpgrade) -> SessionUpgrade:
    differences, consequences = (tuple(map(one_line, lines)) for lines in (each.differences, each.consequences))
    return SessionUpgrade(one_line(each.session_id), each.fate, differences, consequences)
