"""The command line: ``relayline chat`` and what helps around it. Needs the extra ``cli``."""

import importlib.util
import logging
import sys

_PACKAGES = ("prompt_toolkit", "rich", "typer")


def main() -> None:
    """The script ``relayline``."""
    missing = [package for package in _PACKAGES if importlib.util.find_spec(package) is None]
    if missing:
        print(
            f"relayline: the command line needs {' and '.join(missing)}: pip install 'relayline[cli]'", file=sys.stderr
        )
        sys.exit(1)
    from relayline.cli.commands import run

    # A team's warnings would be written between the lines of a conversation; `graph --check` is the place for them.
    logging.getLogger("relayline").addHandler(logging.NullHandler())
    run()
