"""What the doctor says."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from relayline.messages import JSON

State: TypeAlias = Literal["ok", "absent", "note", "problem"]
"""``absent``: something optional that is not there. ``note``: nothing is wrong, but somebody may want to know."""

Check: TypeAlias = Literal["python", "package", "model", "store", "journal", "tail", "outcome", "request", "session"]
"""What was looked at. ``tail``: of a journal that was cut off in a write. ``outcome``: of a call that was cut off."""

SHOWN = 20
"""Findings of one kind that people are shown; programs get all."""


@dataclass(frozen=True, slots=True)
class Finding:
    """``what`` is for people, and says what to do. ``session_id``: whom it is about, if it is a session."""

    state: State
    check: Check
    what: str
    session_id: str = ""

    def __str__(self) -> str:
        return f"{self.state:<9}{self.what}"


def as_lines(findings: Sequence[Finding]) -> Iterator[str]:
    """A line each; of very many alike the first ones."""
    seen = Counter[tuple[State, Check]]()
    for each in findings:
        seen[each.state, each.check] += 1
        if seen[each.state, each.check] <= SHOWN:
            yield str(each)
    for (state, check), number in seen.items():
        if number > SHOWN:
            yield f"{state:<9}{number - SHOWN} more of these ({check}); --json has all"


def as_json(each: Finding) -> dict[str, JSON]:
    """A finding for programs."""
    return {"state": each.state, "check": each.check, "session_id": each.session_id, "what": each.what}
