"""Names and descriptions as drawings take them: one line, nothing invisible, broken where there is no room."""

import unicodedata
from collections.abc import Sequence

_BREAKS = frozenset({"Zl", "Zp", "Zs"})
_HIDDEN = frozenset({"Cf", "Cn", "Cs", "Co"})
_JOINERS = "\u200c\u200d"
"""They are invisible too, but Persian, Hindi and a family of emoji are misspelt without them."""


def one_line(text: str) -> str:
    """The text without control characters, marks of direction and half characters; each run of space as one space."""
    return " ".join("".join(map(_harmless, text)).split())


def width(text: str) -> int:
    """How many columns it takes: two for each character of a wide script, none for what sits on another."""
    return sum(map(_columns, text))


def wrapped(text: str, columns: int, most: int) -> Sequence[str]:
    """The text in lines of at most ``columns``, ``most`` of them; what is left out is an ellipsis."""
    lines: list[str] = []
    rest = one_line(text)
    while rest:
        if len(lines) == most:
            lines[-1] = _fitting(lines[-1], columns - 1)[0].rstrip() + "…"
            break
        first, rest = _first_line(rest, columns)
        lines.append(first)
    return lines


def balanced(text: str, columns: int, most: int) -> Sequence[str]:
    """As `wrapped`, with lines of about one length."""
    lines = wrapped(text, columns, most)
    while len(lines) > 1 and columns > 8 and not lines[-1].endswith("…"):
        columns -= 1
        narrower = wrapped(text, columns, most + 1)
        if len(narrower) > len(lines):
            break
        lines = narrower
    return lines


def counted(steps: Sequence[int], most: int = 6) -> str:
    """The numbers of steps; of many, the first ones and the last, and how many there are."""
    if len(steps) <= most:
        return ", ".join(map(str, steps))
    return f"{', '.join(map(str, steps[: most - 2]))} … {steps[-1]} ({len(steps)} times)"


def _first_line(text: str, columns: int) -> tuple[str, str]:
    if width(text) <= columns:
        return text, ""
    first, _ = _fitting(text, columns)
    # A space after what fits is as good a place as one in it.
    place = len(first) if text[len(first)] == " " else first.rfind(" ")
    if place <= 0:  # a word longer than the line, or a script without spaces
        place = len(first)
    return text[:place].rstrip(), text[place:].lstrip()


def _fitting(text: str, columns: int) -> tuple[str, str]:
    taken = 0
    for number, each in enumerate(text):
        taken += _columns(each)
        if taken > columns and number:
            return text[:number], text[number:]
    return text, ""


def _harmless(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Cc" or category in _BREAKS:
        return " "
    if category in _HIDDEN and character not in _JOINERS:
        return "\ufffd" if category in ("Cs", "Cn") else ""
    return character


def _columns(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
