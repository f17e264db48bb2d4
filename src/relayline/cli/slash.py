"""What can be typed with a slash in a chat."""

import shutil
from collections.abc import Sequence

from relayline.cli.clean import one_line
from relayline.cli.conversation import Command
from relayline.cli.graph import as_text
from relayline.cli.sessions import as_table, listed, situation
from relayline.workflow import SessionView, Workflow

COMMANDS = {
    "help": "this list",
    "sessions": "the sessions of this store",
    "graph": "who may hand over to whom",
    "state": "where this session stands",
    "model": "which model speaks",
    "retry": "try again what failed, or go on with what was stopped",
    "continue": "go on after a budget ran out, with as much again",
    "handoff": "on the turn of a person of the team: /handoff NAME, and words if you like, hands over",
    "back": "on such a turn: gives the conversation back to whoever handed over, with words if you like",
    "quit": "leave; the session is kept (Ctrl-D does the same)",
}
KEYS = {
    "Enter": "sends; Alt-Enter begins a new line, and pasted lines stay together",
    "Ctrl-C": "stops the team while it works; at the prompt it clears the line, and pressed again it leaves",
}


TURNS = ("handoff", "back")
"""What is only for the turn of a person of the team."""


def as_command(line: str) -> Command | None:
    """The command that a line which begins with a slash is; None: it is only words."""
    name, *rest = line[1:].strip().split(maxsplit=1) or [""]
    if "\n" in line and name.lower() not in TURNS:
        return None
    return Command(name.lower(), rest[0] if rest else "")


def turn_hint(agent: str, colleagues: Sequence[str]) -> str:
    """What can be typed when it is the turn of the person ``agent``."""
    ways = [f"/handoff {one_line(name)}" for name in colleagues]
    return f"{one_line(agent)} has the conversation: say something, or {', '.join([*ways, '/back'])}"


class Slash:
    """The commands of a chat that only say something. ``about``: which model speaks."""

    def __init__(self, workflow: Workflow, about: str) -> None:
        self._workflow = workflow
        self._about = about

    async def __call__(self, name: str, view: SessionView | None) -> str:
        """What the command has to say; ``view`` is the session as it stands, None before it has begun."""
        match name:
            case "help":
                return _help()
            case "sessions":
                lines = await listed(self._workflow.store, limit=20)
                return as_table(lines, shutil.get_terminal_size().columns) or "No session is kept here yet."
            case "graph":
                return as_text(self._workflow)
            case "state":
                return _state(view) if view else "This session begins with your first message."
            case "model":
                return self._about
            case "handoff" | "back":
                return f"/{name} is for the turn of a person of the team, and it is nobody's now."
            case _:
                return f"There is no /{name}; there is {', '.join('/' + each for each in COMMANDS)}."


def _help() -> str:
    lines = {**{f"/{name}": what for name, what in COMMANDS.items()}, **KEYS}
    width = max(map(len, lines)) + 2
    return "\n".join(f"{name:<{width}}{what}" for name, what in lines.items())


def _state(view: SessionView) -> str:
    said = f"{view.seq} facts, {len(view.conversation)} messages"
    return f"{view.session_id}: {situation(view.state, view.requests)}, with {view.active_agent}; {said}"
