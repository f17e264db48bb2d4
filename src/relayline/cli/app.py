"""The program behind ``relayline``: how it fails, ends and reads what every command has in common."""

import os
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relayline.messages import JSON

Target = Annotated[
    str | None,
    typer.Argument(
        metavar="TARGET",
        help="The team: MODULE:NAME, file.py:NAME, file.py, team.yaml, or the name of an example. NAME is a workflow, "
        "a builder or a function that returns one. Default: the example 'support'.",
        show_default=False,
    ),
]
Allow = Annotated[
    list[str] | None,
    typer.Option(
        "--allow",
        metavar="MODULE",
        help="What a team.yaml may name of code: a module, or MODULE:NAME. It is imported. Can be given several times.",
    ),
]


def _of_the_group(context: Any, value: str | None) -> str | None:
    """``--store``, wherever it stands: `relayline sessions --store FILE show ID` means the same as behind `show`."""
    given = context.get_parameter_source("store").name == "COMMANDLINE"
    before = context.parent.params.get("store") if context.parent else None
    return before if before is not None and not given else value


StoreWord = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="STORE",
        help="Where sessions are kept: a SQLite file, a folder (or a name that ends with /), or postgresql://...",
        envvar="RELAYLINE_STORE",
        callback=_of_the_group,
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]


class Sentences(TyperGroup):
    """Says what is wrong in a sentence: status 2 if the command was wrong, 1 if the world was."""

    def invoke(self, ctx: Any) -> Any:
        from relayline.errors import RelaylineError, UsageError

        try:
            return super().invoke(ctx)
        except RelaylineError as error:
            from relayline.cli.clean import clean

            print(f"relayline: {clean(str(error))}", file=sys.stderr)
            raise typer.Exit(2 if isinstance(error, UsageError) else 1) from error


app = typer.Typer(
    cls=Sentences,
    help="Talk to teams of agents that hand a conversation to one another, and look after what was said.",
    epilog="Exit status: 0 all is well; 1 something failed or was found; 2 the command was wrong; 130 after Ctrl-C.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def print_json(value: "JSON") -> None:
    """On stdout, with nothing in it that a terminal would obey."""
    from relayline.cli.clean import json_text

    print(json_text(value))


def left_out(damaged: "Sequence[Exception]") -> None:
    """Say which sessions were left out because they cannot be read, and end with status 1 if any was."""
    from relayline.cli.clean import clean

    for each in damaged:
        print(f"relayline: {clean(str(each))}", file=sys.stderr)
    if damaged:
        raise typer.Exit(1)


def run() -> None:
    """Do what was typed, and exit."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        # A character that the terminal cannot show becomes a question mark; bytes that are no text do, too.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        try:
            app(prog_name="relayline")
        finally:
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output has had enough. Python would complain while flushing it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
