"""Where the command line keeps things: the session store and what was typed."""

import os
import shutil
import sys
from pathlib import Path

from relayline.errors import UsageError


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
        raise UsageError(f"no folder for sessions: {error}. --store or RELAYLINE_STORE can name a file") from error


def store_path(given: Path | None) -> Path:
    """The session store: as given (``--store``, or ``RELAYLINE_STORE``), else ``sessions.db`` in the data folder."""
    return given.expanduser() if given is not None else data_folder() / "sessions.db"


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
