"""``relayline checkpoints ...``: where sessions rested, and how two of them differ."""

from typing import Annotated

import typer

from relayline.cli.app import AsJson, StoreWord, left_out, print_json

checkpoints_app = typer.Typer(no_args_is_help=True)

Checkpoint = Annotated[
    str, typer.Argument(metavar="CHECKPOINT", help="SESSION@SEQ: a session after its fact number SEQ, any of them.")
]
Position = Annotated[str, typer.Argument(help="A session, or SESSION@SEQ.")]


@checkpoints_app.callback()
def checkpoints() -> None:
    """List where sessions rested, show a place, compare two.

    `workflow.run(checkpoint_id=...)` goes on from there.
    """


@checkpoints_app.command("list")
def list_checkpoints(
    session_id: Annotated[
        str | None, typer.Argument(metavar="ID", help="Of this session only. Default: of all, the newest last.")
    ] = None,
    store: StoreWord = None,
    json: AsJson = False,
) -> None:
    """List checkpoints, the newest last.

    A checkpoint per line: when, who had the conversation, and which requests waited.

    Status 1 if a session cannot be read; the others are listed.

    Example: relayline checkpoints list desk-1f2e3d
    """
    from relayline.cli.opened import looking
    from relayline.cli.rests import as_json, as_table, rests

    found, damaged = looking(store, lambda opened: rests(opened, session_id), ([], []))
    if json:
        print_json([as_json(each) for each in found])
    elif found:
        print(as_table(found))
    left_out(damaged)


@checkpoints_app.command()
def show(
    checkpoint: Checkpoint,
    facts: Annotated[bool, typer.Option("--facts", help="The whole journal, a fact per line.")] = False,
    store: StoreWord = None,
    json: AsJson = False,
) -> None:
    """Show a session as it was there.

    The same as `relayline sessions show ID --at SEQ`.

    Example: relayline checkpoints show desk-1f2e3d@12
    """
    from relayline.cli.account import account, as_json, as_text
    from relayline.cli.opened import looking, position, width
    from relayline.journal.store import Store

    async def work(opened: Store):  # noqa: ANN202
        return await account(opened, *await position(opened, checkpoint))

    found = looking(store, work)
    if json:
        print_json(as_json(found, facts=facts))
    else:
        print(as_text(found, facts=facts, width=width()))


@checkpoints_app.command()
def diff(
    one: Position,
    other: Position,
    facts: Annotated[bool, typer.Option("--facts", help="Every fact, not only what was said and done.")] = False,
    store: StoreWord = None,
    json: AsJson = False,
) -> None:
    """Show what two places do not have in common.

    They may be two branches, or one session at two times: - is the first's, + the second's. Status 0 whether they
    differ or not.

    Example: relayline checkpoints diff desk-1f2e3d desk-1f2e3d-a1b2
    """
    from relayline.cli.comparing import as_json, as_text, compared
    from relayline.cli.opened import looking, width

    found = looking(store, lambda opened: compared(opened, one, other))
    if json:
        print_json(as_json(found))
    else:
        print(as_text(found, facts=facts, width=width()))
