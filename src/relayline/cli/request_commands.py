"""``relayline requests``, ``approve``, ``deny`` and ``answer``: what waits for a person, and what they say."""

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from relayline.cli.app import Allow, AsJson, StoreWord, Target, left_out, print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from relayline.cli.deciding import Decision

RequestId = Annotated[str, typer.Argument(metavar="REQUEST", help="Its id: SESSION/r1, from `relayline requests`.")]
Model = Annotated[str | None, typer.Option(metavar="MODEL", help="Who speaks for all agents; as for `relayline chat`.")]


def requests(
    questions: Annotated[
        bool, typer.Option("--questions", help="Also the agents' questions to the user of the conversation.")
    ] = False,
    store: StoreWord = None,
    json: AsJson = False,
) -> None:
    """List what waits for a person, in all sessions.

    The longest first: calls that need an approval, calls that were interrupted and whose outcome nobody knows, turns of
    people in the team, answers that wait for a review, and values that functions want. Status 1 if a session cannot be
    read; the others are listed.

    Example: relayline requests --json | jq -r '.[].request_id'
    """
    from relayline.cli.opened import looking
    from relayline.cli.waiting import all_requests, as_json, as_lines

    found, damaged = looking(store, all_requests, ([], []))
    shown = [each for each in found if questions or each.kind != "question"]
    if json:
        print_json([as_json(each) for each in shown])
    elif shown:
        print(as_lines(shown, terminal=sys.stdout.isatty()))
    else:
        print("Nothing waits for a person.")
    left = len(found) - len(shown)
    if left and not json:
        print(f"{left} more wait for their user to say something; --questions lists them", file=sys.stderr)
    left_out(damaged)


def approve(
    request: RequestId,
    target: Target = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for the record.")] = "",
    arguments: Annotated[
        str | None, typer.Option(metavar="JSON", help="Run it with these arguments instead: a JSON object.")
    ] = None,
    model: Model = None,
    store: StoreWord = None,
    allow: Allow = None,
    json: AsJson = False,
) -> None:
    """Let a call run, and the team go on from there.

    Also passes on what an agent said, where that waits for a review. What follows is printed as `relayline chat` prints
    it in a pipe; a line that begins with ?? has the id of what waits next in brackets. The decision is recorded under
    the name of your account.

    Example: relayline approve desk-1f2e3d/r4 team.py --arguments '{"amount": 5}'
    """
    from relayline.cli.deciding import approval

    _decide(
        request,
        approval(approved=True, reason=reason, arguments=arguments),
        target,
        model,
        store,
        allow or (),
        json=json,
    )


def deny(
    request: RequestId,
    target: Target = None,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; the agent reads it.")] = "",
    model: Model = None,
    store: StoreWord = None,
    allow: Allow = None,
    json: AsJson = False,
) -> None:
    """Refuse a call, and let the team go on from there.

    Where what an agent said waits for a review, the agent reads the reason and speaks again. Otherwise like `relayline
    approve`.

    Example: relayline deny desk-1f2e3d/r4 team.py --reason "too much"
    """
    from relayline.cli.deciding import approval

    _decide(request, approval(approved=False, reason=reason), target, model, store, allow or (), json=json)


def answer(
    request: RequestId,
    text: Annotated[
        str | None, typer.Argument(metavar="TEXT", help="The words, or - to read them from the input.")
    ] = None,
    target: Target = None,
    again: Annotated[bool, typer.Option("--again", help="Run an interrupted call once more; no TEXT.")] = False,
    to: Annotated[
        str | None, typer.Option("--to", metavar="NAME", help="On a person's turn: hand over to this colleague.")
    ] = None,
    back: Annotated[bool, typer.Option("--back", help="On a person's turn: hand back.")] = False,
    model: Model = None,
    store: StoreWord = None,
    allow: Allow = None,
    json: AsJson = False,
) -> None:
    """Answer a request for words, and let the team go on.

    That is an agent's question, the turn of a person of the team, what became of an interrupted call, or the value that
    a function wants (JSON, or plain words). Otherwise like `relayline approve`. With --again there is no TEXT.

    Example: relayline answer desk-1f2e3d/r4 "The refund was paid, reference F-503." team.py
    """
    from relayline.cli.deciding import answer as answered

    if again and target is None:
        text, target = None, text
    words = sys.stdin.read() if text == "-" else text
    _decide(request, answered(words, to, again=again, back=back), target, model, store, allow or (), json=json)


def _decide(
    request: str,
    decision: "Decision",
    target: str | None,
    model: str | None,
    store: str | None,
    allow: "Sequence[str]",
    *,
    json: bool,
) -> None:
    from relayline.cli.deciding import decided, decided_as_json
    from relayline.cli.places import resume_line
    from relayline.cli.teams import at_work, perform

    workflow = at_work(target, model, store, allow)

    def retry(session_id: str) -> str:
        return resume_line(target, model, store, session_id, allow=allow)

    async def work() -> int:
        if json:
            print_json(await decided_as_json(workflow, request, decision, retry))
        else:
            await decided(workflow, request, decision, retry)
        return 0

    raise typer.Exit(perform(workflow, work))
