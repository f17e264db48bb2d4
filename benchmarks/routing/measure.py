"""How well the embedded model routes, acts and quotes, on messages the project wrote itself.

    python benchmarks/routing/measure.py                 both halves, with a confusion matrix each
    python benchmarks/routing/measure.py --half development --wrong    the messages it got wrong as well

`README.md` beside this file says how the messages came about and how to read the figures.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from relayline.agent import Agent, ChatRequest, ToolSpec
from relayline.clients.encoder import Encoder
from relayline.clients.local import Reply, answer
from relayline.clients.meaning import likeness
from relayline.clients.routing import QUOTE
from relayline.messages import Message, Text, user

HERE = Path(__file__).parent
HALVES = ("development", "held back")

Row: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """A message, who is asked, and what should come of it."""

    row: Row
    request: ChatRequest
    front: bool

    @property
    def kind(self) -> str:
        return "stay" if self.row["expect"] == "stay" else "route" if self.front else "switch"

    @property
    def right(self) -> str:
        return self.row["at"] if self.row["expect"] == "stay" else self.row["expect"]


def cases(half: str, *, examples: bool) -> Iterator[Case]:
    teams = {row["team"]: row for row in _rows("teams.jsonl")}
    for row in _rows("messages.jsonl"):
        team = teams[row["team"]]
        if team["half"] == half:
            messages = [*_before(row), user(row["said"])]
            yield Case(row, _request(team, row["at"], messages, examples=examples), row["at"] == team["start"])


def arrivals(half: str, *, examples: bool) -> Iterator[Case]:
    """The handovers that are due, as the colleague sees them who gets the message: it should keep it."""
    teams = {row["team"]: row for row in _rows("teams.jsonl")}
    for case in cases(half, examples=examples):
        if case.row["expect"] != "stay":
            note = f"[{case.row['at']}] handed the conversation over to you."
            messages = [user(case.row["said"]), Message("user", (Text(note),), case.row["at"])]
            row = {**case.row, "at": case.row["expect"], "expect": "stay"}
            yield Case(row, _request(teams[row["team"]], row["at"], messages, examples=examples), False)


def _rows(name: str) -> list[Row]:
    return [json.loads(line) for line in (HERE / name).read_text("utf-8").splitlines()]


def _before(row: Row) -> Iterator[Message]:
    for author, text in row.get("before", ()):
        if author == "user":
            yield user(text)
        else:
            yield Message("assistant", (Text(text),), author)


def _request(team: Row, at: str, messages: Sequence[Message], *, examples: bool) -> ChatRequest:
    agents = {row["name"]: row for row in team["agents"]}
    me = agents[at]
    own = [ToolSpec(tool["name"], tool["description"], tool["parameters"]) for tool in me["tools"]]
    handoffs = [
        ToolSpec(
            f"handoff_to_{name}",
            f"Hand the conversation over to {name}: {row['description']}",
            {"type": "object", "properties": {"reason": {"type": "string"}}},
            name,
            tuple(row["examples"]) if examples else (),
        )
        for name, row in agents.items()
        if name != at
    ]
    agent = Agent(
        at, description=me["description"], knowledge=me["knowledge"], examples=me["examples"] if examples else ()
    )
    return ChatRequest(agent, messages, [*own, *handoffs])


def chosen(case: Case, reply: Reply) -> str:
    targets = {tool.name: tool.target for tool in case.request.tools if tool.target}
    return targets.get(reply.call.name, case.row["at"]) if reply.call else case.row["at"]


def acted_right(case: Case, reply: Reply) -> bool | None:
    """Whether the right tool was called with the right arguments, or asked for what is missing; None: not labelled."""
    if "tool" in case.row:
        call = reply.call
        return call is not None and call.name == case.row["tool"] and call.parse_arguments() == case.row["arguments"]
    if "asks" in case.row:
        return reply.metadata.get("missing") == case.row["asks"]
    return None


def quoted_right(case: Case, reply: Reply) -> bool | None:
    if "quotes" not in case.row:
        return None
    return str(reply.metadata.get("source", "")).endswith(f"knowledge[{case.row['quotes']}]")


def share(right: Sequence[bool]) -> str:
    return f"{sum(right):3} of {len(right):3} = {100 * sum(right) / len(right):5.1f} %" if right else "      none"


def measure(half: str, *, examples: bool, wrong: bool) -> None:
    alike = likeness(Encoder.load())
    todo = list(cases(half, examples=examples))
    for case in todo:  # What agents say of themselves is worked out once per process; the figures are of what follows.
        answer(ChatRequest(case.request.agent, [user("warm up the texts")], case.request.tools), alike)
    started = time.process_time()
    replies = [answer(case.request, alike) for case in todo]
    spent = time.process_time() - started
    pairs = list(zip(todo, replies, strict=True))
    arrived = [(case, answer(case.request, alike)) for case in arrivals(half, examples=examples)]
    right = [(case.kind, chosen(case, reply) == case.right) for case, reply in pairs]

    print(f"\n== {half}, {'descriptions and examples' if examples else 'descriptions only'}, {len(todo)} messages")
    print(f"  who      {share([ok for _, ok in right])}")
    for kind in ("route", "stay", "switch"):
        print(f"  {kind:8} {share([ok for each, ok in right if each == kind])}")
    print(f"  kept on arrival {share([chosen(case, reply) == case.right for case, reply in arrived])}")
    print(f"  tool and arguments, or the right question {share(_labelled(acted_right, pairs))}")
    print(f"  the right sentence quoted {share(_labelled(quoted_right, pairs))}")
    if not examples:  # The second time round the vectors of the same messages are remembered.
        print(f"  CPU {1000 * spent / len(todo):.0f} ms a decision")
    _matrix(pairs)
    if wrong:
        _wrong([*pairs, *arrived])


def unanswerable() -> None:
    """How near the nearest sentence is to questions that none of them answers."""
    alike = likeness(Encoder.load())
    teams = {row["team"]: {agent["name"]: agent for agent in row["agents"]} for row in _rows("teams.jsonl")}
    nearest: list[tuple[float, str, str]] = []
    for row in _rows("unanswerable.jsonl"):
        known = teams[row["team"]][row["at"]]["knowledge"]
        scores = alike(row["said"], known)
        nearest.append((max(scores), row["said"], known[scores.index(max(scores))]))
    quoted = sum(score >= QUOTE for score, _, _ in nearest)
    print(
        f"\n== questions without an answer: {quoted} of {len(nearest)} are near enough to a sentence to get it quoted"
    )
    for score, said, sentence in sorted(nearest, reverse=True):
        print(f"  {score:.2f} {said} -> {sentence}")


def _labelled(judge: Any, pairs: Sequence[tuple[Case, Reply]]) -> list[bool]:
    return [verdict for case, reply in pairs if (verdict := judge(case, reply)) is not None]


def _matrix(pairs: Sequence[tuple[Case, Reply]]) -> None:
    """Who should have had the message (rows) and who got it (columns), team by team."""
    for team in dict.fromkeys(case.row["team"] for case, _ in pairs):
        counts = Counter((case.right, chosen(case, reply)) for case, reply in pairs if case.row["team"] == team)
        names = list(dict.fromkeys(name for pair in counts for name in pair))
        print("  " + f"{team:>14} " + " ".join(f"{name[:9]:>9}" for name in names))
        for row in names:
            print("  " + f"{row:>14} " + " ".join(f"{counts[row, column] or '.':>9}" for column in names))


def _wrong(pairs: Sequence[tuple[Case, Reply]]) -> None:
    for case, reply in pairs:
        who, acts, quotes = chosen(case, reply) == case.right, acted_right(case, reply), quoted_right(case, reply)
        if not who or acts is False or quotes is False:
            got = f"{reply.call.name}{reply.call.arguments}" if reply.call else reply.text[:70]
            wanted = {key: case.row[key] for key in ("tool", "arguments", "asks", "quotes") if key in case.row}
            print(
                f"  {case.kind} {case.row['at']}: {case.row['said']!r} -> {case.right} {wanted or ''}\n      got {got}"
            )
            print(f"      {dict(reply.metadata)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=HALVES, help="only this half of the messages")
    parser.add_argument("--wrong", action="store_true", help="show what went wrong, too")
    options = parser.parse_args()
    for half in [options.half] if options.half else HALVES:
        for examples in (False, True):
            measure(half, examples=examples, wrong=options.wrong)
    if options.half != "held back":
        unanswerable()


if __name__ == "__main__":
    main()
