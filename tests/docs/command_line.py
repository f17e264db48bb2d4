"""Writes what `--help` says into docs/reference/command-line.md, which has a heading for every command::

python -m tests.docs.command_line
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from typer.testing import CliRunner

from relayline.cli.commands import app

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "command-line.md"
SECTION = re.compile(r"(^#+ relayline ?([a-z ]*)\n\n```text\n)(.*?)(^```$)", re.MULTILINE | re.DOTALL)


def every_command() -> Iterator[tuple[str, ...]]:
    """The words of each command, as they are in the help."""
    from typer.main import get_command

    def below(group: object, *words: str) -> Iterator[tuple[str, ...]]:
        yield words
        for name, command in getattr(group, "commands", {}).items():
            yield from below(command, *words, name)

    yield from below(get_command(app))


def help_of(*words: str) -> str:
    """What the command says of itself on a terminal of 80 columns."""
    shown = CliRunner().invoke(app, [*words, "--help"], prog_name="relayline", env={"COLUMNS": "80"})
    assert shown.exit_code == 0, shown.output
    return "\n".join(line.rstrip() for line in shown.output.strip().split("\n")) + "\n"


def with_help(page: str) -> str:
    """The page with the help of today in it."""
    return SECTION.sub(lambda found: found[1] + help_of(*found[2].split()) + found[4], page)


if __name__ == "__main__":
    os.environ.pop("RELAYLINE_STORE", None)
    PAGE.write_text(with_help(PAGE.read_text("utf-8")), "utf-8")
