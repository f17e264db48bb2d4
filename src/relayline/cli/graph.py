"""``relayline graph``: a team drawn, and a conversation of it."""

import asyncio
from contextlib import aclosing
from typing import Literal, TypeAlias, assert_never

from relayline.cli.opened import looking, no_session
from relayline.cli.teams import check_team
from relayline.drawing.text import as_text as in_words
from relayline.errors import SessionNotFound
from relayline.journal.store import InMemoryCheckpointStorage
from relayline.workflow import SessionView, Workflow

Format: TypeAlias = Literal["text", "ascii", "mermaid", "dot", "svg"]


def drawn(workflow: Workflow, format: Format, session: str | None, store: str | None) -> str:  # noqa: A002  its option
    """The team in a format; with a session of the store, the way it took as well.

    Raises:
        SessionNotFound: there is no such session.
        UsageError: it is of another team.
    """
    shown = None if session is None else _looked_at(workflow, session, store)
    match format:
        case "text" | "ascii":
            return as_text(workflow, shown)
        case "mermaid":
            return workflow.to_mermaid(shown)
        case "dot":
            return workflow.to_dot(shown)
        case "svg":
            return workflow.to_svg(shown)
        case _:
            assert_never(format)


def as_text(workflow: Workflow, session: SessionView | None = None) -> str:
    """An agent a paragraph, with the ways out of it: ``->`` if it chooses them, ``=>`` if it does not."""
    return in_words(workflow.diagram(session))


def _looked_at(workflow: Workflow, session: str, store: str | None) -> SessionView:
    """The session, in the store that the chat would keep it in."""

    async def look(team: Workflow) -> SessionView:
        try:
            view = await team.session(session)
        except SessionNotFound:
            raise no_session(session) from None
        await check_team(team, session)
        return view

    async def look_at_home() -> SessionView:
        async with aclosing(workflow.store):
            return await look(workflow)

    if store is None and not isinstance(workflow.store, InMemoryCheckpointStorage):
        return asyncio.run(look_at_home())
    return looking(store, lambda place: look(workflow.with_store(place)))
