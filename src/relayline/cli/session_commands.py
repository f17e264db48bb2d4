"""``relayline sessions ...``: what is kept, looked at and looked after."""

import sys
from typing import Annotated

import typer

from relayline.cli.app import AsJson, StoreWord, Target, print_json

sessions_app = typer.Typer(invoke_without_command=True)

SessionId = Annotated[str, typer.Argument(metavar="ID", help="The session; behind -- if it begins with a dash.")]
Limit = Annotated[int, typer.Option(min=0, metavar="N", help="Only the latest N; 0 for all.")]


@sessions_app.callback()
def sessions(
    context: typer.Context,
    store: StoreWord = None,
    limit: Limit = 50,
    json: AsJson = False,
) -> None:
    """List what is kept and where it stands, or look after it.

    Without a command it lists, as `relayline sessions list` does.
    """
    if context.invoked_subcommand is None:
        list_sessions(store, limit, json)


@sessions_app.command("list")
def list_sessions(store: StoreWord = None, limit: Limit = 50, json: AsJson = False) -> None:
    """List sessions, the latest first.

    A session per line: how many facts it has, of which team it is, who has the conversation,
    what it waits for, whether it is held, and what it branched off.

    Example: relayline sessions list --limit 10 --store sessions.db
    """
    from relayline.cli.opened import looking, width
    from relayline.cli.places import store_place
    from relayline.cli.sessions import as_json, as_table, listed

    lines = looking(store, lambda opened: listed(opened, limit), [])
    if json:
        print_json([as_json(each) for each in lines])
    elif lines:
        print(as_table(lines, width()))
    else:
        print(f"No session is kept in {store_place(store)} yet.")


@sessions_app.command()
def show(
    session_id: SessionId,
    at: Annotated[
        int | None, typer.Option(metavar="SEQ", help="As it was after its fact number SEQ. Default: as it is now.")
    ] = None,
    facts: Annotated[bool, typer.Option("--facts", help="The whole journal, a fact per line.")] = False,
    store: StoreWord = None,
    json: AsJson = False,
) -> None:
    """Show what was said, and where it stands.

    In front of each line is the number of its fact, which --at takes, here and in `fork`.

    Example: relayline sessions show desk-1f2e3d --at 12
    """
    from relayline.cli.account import account, as_json, as_text
    from relayline.cli.opened import looking, width

    found = looking(store, lambda opened: account(opened, session_id, at))
    if json:
        print_json(as_json(found, facts=facts))
    else:
        print(as_text(found, facts=facts, width=width()))


@sessions_app.command()
def export(
    session_id: SessionId,
    file: Annotated[str, typer.Argument(metavar="FILE", help="A new file, or - for the output.")] = "-",
    store: StoreWord = None,
) -> None:
    """Write a session to a file.

    One file of JSON lines, images and files with it. It can be imported into any store, of any kind, on any machine.

    Example: relayline sessions export desk-1f2e3d - | ssh other relayline sessions import -
    """
    from relayline.cli.opened import looking
    from relayline.cli.transport import exported

    looking(store, lambda opened: exported(opened, session_id, file))
    if file != "-":
        print(f"{_line(session_id)} is in {_line(file)}", file=sys.stderr)


@sessions_app.command("import")
def import_session(
    file: Annotated[str, typer.Argument(metavar="FILE", help="What `export` wrote, or - for the input.")],
    name: Annotated[
        str | None, typer.Option("--as", metavar="ID", help="Under this id. Default: the one it had.")
    ] = None,
    store: StoreWord = None,
    json: AsJson = False,
) -> None:
    """Bring a session here that was exported.

    Whole or not at all; its id is printed. There must be no session of that id yet.

    Example: relayline sessions import letter.jsonl --as letter-2
    """
    from relayline.cli.opened import using
    from relayline.cli.transport import imported

    session_id = using(store, lambda opened: imported(opened, file, name))
    if json:
        print_json({"session_id": session_id})
    else:
        print(_line(session_id))


@sessions_app.command()
def fork(
    session_id: SessionId,
    at: Annotated[
        int | None, typer.Option(metavar="SEQ", help="With the first SEQ facts in common. Default: all.")
    ] = None,
    name: Annotated[str | None, typer.Option("--as", metavar="NEW", help="The id of the branch.")] = None,
    store: StoreWord = None,
    json: AsJson = False,
) -> None:
    """Begin a branch of a session, and print its id.

    From there on neither touches the other; nothing is copied.

    To say something else than you said, fork before that message and talk to the branch. Within a step, whose facts
    belong together, it begins before them.

    Example: relayline chat team.py --session "$(relayline sessions fork desk-1f2e3d --at 12)"
    """
    from relayline.cli.opened import looking
    from relayline.cli.transport import forked

    branch, shared = looking(store, lambda opened: forked(opened, session_id, at, name))
    if at not in (None, shared):
        print(f"it begins after fact {shared}: at {at} the session was between two facts of one step", file=sys.stderr)
    if json:
        print_json({"session_id": branch, "parent": session_id, "shared": shared})
    else:
        print(_line(branch))


@sessions_app.command()
def delete(
    session_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="The sessions.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    store: StoreWord = None,
    json: AsJson = False,
) -> None:
    """Delete sessions for good.

    All of those named, or none. Their branches keep what they shared.

    Example: relayline sessions delete desk-1f2e3d desk-4a5b6c --yes
    """
    from relayline.cli.opened import looking, sure
    from relayline.cli.removing import check_all, delete_all

    wanted = list(dict.fromkeys(session_ids))
    looking(store, lambda opened: check_all(opened, wanted))
    shown = ", ".join(map(_line, wanted))
    if not yes and not sure(f"Delete {shown} for good?"):
        raise typer.Exit(1)
    looking(store, lambda opened: delete_all(opened, wanted))
    if json:
        print_json({"deleted": wanted})
    else:
        print(f"deleted {shown}")


@sessions_app.command()
def hold(
    session_id: SessionId,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for whoever wants to delete it.")],
    store: StoreWord = None,
    json: AsJson = False,
) -> None:
    """Keep a session from being deleted or compacted.

    Until it is released; the conversation may go on meanwhile.

    Example: relayline sessions hold desk-1f2e3d --reason "case 4711"
    """
    from relayline.errors import UsageError

    if not reason.strip():
        raise UsageError('a hold needs a reason: --reason "case 4711"')
    _hold(store, session_id, reason, json=json)


@sessions_app.command()
def release(session_id: SessionId, store: StoreWord = None, json: AsJson = False) -> None:
    """Lift a hold.

    Example: relayline sessions release desk-1f2e3d
    """
    _hold(store, session_id, "", json=json)


@sessions_app.command()
def compact(
    session_id: SessionId,
    keep: Annotated[int, typer.Option(min=1, metavar="N", help="How many messages of the user are kept.")],
    store: StoreWord = None,
    json: AsJson = False,
) -> None:
    """Forget the beginning of a conversation, for good.

    What stays is the last N messages of the user and what came after the first of them. The conversation goes on as if
    nothing had happened, but agents are shown the rest only. Branches keep what they shared.

    Example: relayline sessions compact desk-1f2e3d --keep 20
    """
    from relayline.cli.opened import looking
    from relayline.cli.removing import compacted

    upto = looking(store, lambda opened: compacted(opened, session_id, keep))
    if json:
        print_json({"session_id": session_id, "upto": upto})
    elif upto is None:
        print(f"{_line(session_id)} has no more than that; nothing was forgotten")
    else:
        print(f"{_line(session_id)}: the first {upto} facts are forgotten")


@sessions_app.command()
def expire(
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="SPAN", help="Not written to for so long: 30d, 12h, 2w, 90m.")
    ],
    compact: Annotated[bool, typer.Option("--compact", help="Compact them; do not delete them.")] = False,
    keep: Annotated[
        int, typer.Option(min=1, metavar="N", help="With --compact: how many messages of the user are kept.")
    ] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
    store: StoreWord = None,
    json: AsJson = False,
) -> None:
    """Delete or compact what is old.

    That is every session nobody has written to for so long, but those that are held, and those in which somebody has
    yet to decide something.

    Example: relayline sessions expire --older-than 30d --dry-run
    """
    from relayline.cli.opened import looking, span
    from relayline.cli.removing import as_json, as_line, expired

    age = span(older_than)
    done = looking(store, lambda opened: expired(opened, age, keep if compact else None, dry_run=dry_run), [])
    if json:
        print_json([as_json(each, dry_run=dry_run) for each in done])
    else:
        print("\n".join(as_line(each, dry_run=dry_run) for each in done) or "Nothing is that old.")


@sessions_app.command()
def check(target: Target = None, store: StoreWord = None, json: AsJson = False) -> None:
    """Say which sessions a change of the team affects.

    And what would become of each of them; nothing is changed. ok: nothing differs. goes on, remapped: it goes on.
    Status 1 if one would be refused, needs a person, or is damaged.

    Example: relayline sessions check team.py:workflow
    """
    from relayline.cli.upgrading import as_json, as_text, reports, uneasy

    found = reports(target, store)
    if json:
        print_json([as_json(each) for each in found])
    else:
        print(as_text(found))
    raise typer.Exit(int(any(map(uneasy, found))))


def _hold(store: str | None, session_id: str, reason: str, *, json: bool) -> None:
    from relayline.cli.opened import looking
    from relayline.cli.removing import held

    looking(store, lambda opened: held(opened, session_id, reason))
    if json:
        print_json({"session_id": session_id, "held": reason})
    else:
        print(f"{_line(session_id)} is held" if reason else f"{_line(session_id)} is released")


def _line(text: str) -> str:
    from relayline.cli.clean import one_line

    return one_line(text)
