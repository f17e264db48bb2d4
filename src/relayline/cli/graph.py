"""``relayline graph``: a team drawn, and a conversation of it."""

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Literal, TypeAlias, assert_never

from relayline.cli.places import store_path
from relayline.drawing.text import as_text as in_words
from relayline.errors import SessionNotFound
from relayline.journal.sqlite import SqliteCheckpointStorage
from relayline.workflow import SessionView, Workflow

Format: TypeAlias = Literal["text", "ascii", "mermaid", "dot", "svg"]


def drawn(workflow: Workflow, format: Format, session: str | None, store: Path | None) -> str:  # noqa: A002  its option
    """The team in a format; with a session of the store, the way it took as well.

    Raises:
        SessionNotFound: there is no such session.
    """
    shown = None if session is None else asyncio.run(_looked_at(workflow, session, store_path(store)))
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


async def _looked_at(workflow: Workflow, session: str, path: Path) -> SessionView:
    if not path.exists():  # noqa: ASYNC240  nothing else goes on; a store that is not there is not made
        raise SessionNotFound(f"no session {session!r}: there is no store {path}; name another with --store")
    async with aclosing(SqliteCheckpointStorage(path)) as store:
        return await workflow.with_store(store).session(session)
