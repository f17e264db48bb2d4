"""Where the command line keeps things: the session store and what was typed."""

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from relayline.errors import UsageError
from relayline.journal.opening import Place, place_of

STORE = "RELAYLINE_STORE"


def data_folder() -> Path:
    """The user's data folder for relayline; it need not exist yet.

    Raises:
        UsageError: this user has no home folder.
    """
    try:
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "relayline"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Application Support" / "relayline"
        chosen = Path(os.environ.get("XDG_DATA_HOME", ""))
        return (chosen if chosen.is_absolute() else Path.home() / ".local" / "share") / "relayline"
    except RuntimeError as error:
        raise UsageError(f"no folder for sessions: {error}. --store or RELAYLINE_STORE can name a store") from error


def store_place(given: str | None) -> Place:
    """The session store: as given (``--store``, or ``RELAYLINE_STORE``), else ``sessions.db`` in the data folder.

    Raises:
        UsageError: what is given can be no store.
    """
    return place_of(given if given is not None else data_folder() / "sessions.db")


def store_option(given: str | None) -> list[str]:
    """What to type to name the store again. One with a password is left to the environment, if that has it."""
    if given is None or (str(place_of(given)) != given and given == os.environ.get(STORE)):
        return []
    return ["--store", str(place_of(given))]


def history_path() -> Path | None:
    """A file for what is typed at the prompt, readable by its owner only; None if there can be none."""
    try:
        path = data_folder() / "chat-history"
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except (OSError, UsageError):
        return None
    return path


def command() -> str:
    """What to type for this program: its name if a shell would find it, else the way to it."""
    here = Path(sys.argv[0])
    if here.name != "relayline" or shutil.which("relayline"):
        return "relayline"
    return os.path.relpath(here) if here.is_absolute() else str(here)


def resume_line(
    target: str | None,
    model: str | None,
    store: str | None,
    session_id: str,
    allow: Sequence[str] = (),
    engine: str | None = None,
) -> str:
    """What to type to take a session up, in a shell."""
    # After --session=, because an id may begin with a dash.
    session = ["--session", session_id] if not session_id.startswith("-") else [f"--session={session_id}"]
    return shlex.join([command(), "chat", *_same_team(target, model, store, allow, engine), *session])


def worker_line(target: str | None, model: str | None, store: str | None, allow: Sequence[str], engine: str) -> str:
    """What to type to start a worker for a team, in a shell."""
    return shlex.join([command(), "worker", *_same_team(target, model, store, allow, engine)])


def _same_team(
    target: str | None, model: str | None, store: str | None, allow: Sequence[str], engine: str | None
) -> list[str]:
    allowed = [word for each in allow for word in ("--allow", each)]
    named = [*([] if model is None else ["--model", model]), *([] if engine is None else ["--engine", engine])]
    return [*([target] if target else []), *allowed, *named, *store_option(store)]


def answer_line(request_id: str) -> str:
    """What to type to answer a request, in a shell, up to the answer."""
    return shlex.join([command(), "answer", *(["--"] if request_id.startswith("-") else []), request_id])
