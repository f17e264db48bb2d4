"""Values that stand in a text: things of a given shape, addresses, dates, numbers, names. English only."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from relayline.clients.words import FUNCTION_WORDS, ends, stem, stems, words

_DASHES = str.maketrans({**dict.fromkeys("‐‑‒–—−", "-"), **dict.fromkeys("“”„", '"'), **dict.fromkeys("‘’", "'")})
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[a-zA-Z]{2,24}(?![\w-])")
_UUID = re.compile(r"(?<![\w-])[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}(?![\w-])")
_URI = re.compile(r"\bhttps?://[^\s<>\"]+[^\s<>\".,;:!?)]")
_PHONE = re.compile(r"(?<![\w-])\+?\d[\d ()/-]{5,18}\d(?![\w-])")
_ISO_MOMENT = re.compile(r"(?<!\d)(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d)?(?:Z|[+-]\d\d:\d\d)?)(?!\d)")
_ISO_DATE = re.compile(r"(?<![\d-])(\d{4})-(\d\d?)-(\d\d?)(?![\d-])")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DAY_FIRST = re.compile(rf"\b(\d{{1,2}})(?:st|nd|rd|th)?(?: of)? {_MONTH},? (\d{{4}})\b", re.IGNORECASE)
_MONTH_FIRST = re.compile(rf"\b{_MONTH} (\d{{1,2}})(?:st|nd|rd|th)?,? (\d{{4}})\b", re.IGNORECASE)
_TIME = re.compile(r"\b(\d{1,2})(?::(\d\d))?(?::\d\d)? ?(am|pm)?\b", re.IGNORECASE)
_NUMBER = re.compile(
    r"(?<![\w.,@#/-])(?P<sign>[$€£¥]\s?)?(?P<digits>\d{1,15}(?:[.,]\d{1,6}){0,4})"
    r"(?P<unit>\s?(?:[$€£¥]|(?:usd|eur|gbp|chf|dollars?|euros?|pounds?|bucks)\b))?(?![\w@/-]|[.,]\d)",
    re.IGNORECASE,
)
_COUNTS: Sequence[str] = "zero one two three four five six seven eight nine ten eleven twelve".split()
_QUOTED = re.compile(r'"([^"\n]{1,200})"|(?<!\w)\'([^\'\n]{2,200})\'(?!\w)')
_NAME = r"([A-Z][\w'&-]*(?: (?:[A-Z0-9][\w'&-]*|de|van|von|der|of|the|la|el)){0,5})"
_PLACES = {
    "from": "from origin departure depart source leaving start",
    "to": "to destination arrival arrive target",
    "(?:in|at|to|from|near)": "city place location where town country venue site office building station room airport",
}


def tidy(text: str) -> str:
    """A text as it is searched: of bounded length, and with one kind of dash and of quotation mark."""
    return ends(text).translate(_DASHES)


def shaped(pattern: str, text: str) -> Iterator[str]:
    """What in a text follows a pattern, in order.

    People write ``a-1042``, ``A 1042`` and ``A1042`` for ``A-1042``, so words are also tried in capitals and joined.
    Each candidate is matched by itself: a pattern is never let loose on a long text.
    """
    try:
        compiled = re.compile(pattern)
    except re.error:
        return
    tokens = [token.strip(".,;:!?()[]{}<>\"'#*") for token in text.split()]
    for count in (1, 2, 3, 4):
        found = False
        for start in range(len(tokens) - count + 1):
            run = [token for token in tokens[start : start + count] if token]
            for candidate in _spellings(run) if len(run) == count else ():
                if len(candidate) <= 64 and compiled.search(candidate) and _whole(compiled, candidate):
                    found = True
                    yield candidate
                    break
        if found:
            return


def _spellings(run: list[str]) -> Iterator[str]:
    if len(run) == 1 and (parts := re.fullmatch(r"([A-Za-z]+)(\d+)", run[0])):
        run = [run[0], *parts.groups()]
        joined = [run[0], "-".join(run[1:])]
    elif len(run) == 1:
        joined = run
    elif any(any(map(str.isdigit, token)) for token in run):
        joined = [" ".join(run), "-".join(run), "".join(run)]
    else:
        joined = []
    for each in joined:
        yield each
        if any(map(str.isdigit, each)):  # Else any three-letter word would be an airport.
            yield each.upper()
            yield each.lower()


def _whole(pattern: re.Pattern[str], candidate: str) -> bool:
    """Whether a pattern fits all of a word: one without anchors would also be content with a part of it."""
    return (match := pattern.fullmatch(candidate)) is not None and bool(match.group())


def shape_of(text: str) -> str | None:
    """The pattern of the example in a description: "The order number, for example A-1042" gives one for A-1042."""
    for token in re.findall(r"[\w-]*\d[\w-]*", text):
        if len(token) >= 3 and (re.search(r"[A-Za-z]", token) or len(token) >= 4):
            parts = (
                r"\d+" if part.isdigit() else r"[A-Z]+" if part.isupper() else r"[a-z]+" if part.islower() else part
                for part in re.findall(r"\d+|[A-Z]+|[a-z]+|[\W_]", token)
            )
            return "".join(re.escape(part) if part in "-_" else part for part in parts)
    return None


def formatted(kind: str, text: str) -> Iterator[str]:
    """What in a text is of a JSON Schema format (or a ``phone``), written as the format wants it."""
    match kind:
        case "email" | "idn-email":
            yield from _EMAIL.findall(text)
        case "uuid":
            yield from _UUID.findall(text)
        case "uri" | "url":
            yield from _URI.findall(text)
        case "phone":
            yield from (found.strip() for found in _PHONE.findall(text) if not _ISO_DATE.fullmatch(found))
        case "date":
            yield from (day.isoformat() for _, day in sorted(set(_dates(text))))
        case "date-time":
            yield from (f"{day}T{time}" for day, time in _ISO_MOMENT.findall(text))
        case "time":
            yield from _times(text)
        case _:
            return


def _dates(text: str) -> Iterator[tuple[int, date]]:
    """Whole dates and where they stand; without a year, or as 3/4/2026, a date is anybody's guess and is not taken."""
    for found in _ISO_DATE.finditer(text):
        yield from _day(found, *found.groups())
    for found in _DAY_FIRST.finditer(text):
        day, month, year = found.groups()
        yield from _day(found, year, str(_MONTHS.index(month.lower()) + 1), day)
    for found in _MONTH_FIRST.finditer(text):
        month, day, year = found.groups()
        yield from _day(found, year, str(_MONTHS.index(month.lower()) + 1), day)


def _day(found: re.Match[str], year: str, month: str, day: str) -> Iterator[tuple[int, date]]:
    try:
        yield found.start(), date(int(year), int(month), int(day))
    except ValueError:
        return


def _times(text: str) -> Iterator[str]:
    for hour, minute, half in _TIME.findall(text):
        if not minute and not half:
            continue
        hours = int(hour) % 12 + (12 if half.lower() == "pm" else 0) if half else int(hour)
        if hours < 24 and int(minute or 0) < 60:
            yield f"{hours:02}:{minute or '00'}:00"


@dataclass(frozen=True, slots=True)
class Number:
    """A number in a text: whether it is money, the stems of the words beside it, and the word it counts, if any."""

    value: Decimal
    money: bool
    spelled: bool
    before: frozenset[str]
    after: frozenset[str]
    counts: str


def numbers(text: str) -> Iterator[Number]:
    """The numbers of a text, in order; not those inside dates, identifiers and addresses."""
    taken = [found.span() for kind in (_ISO_DATE, _DAY_FIRST, _MONTH_FIRST) for found in kind.finditer(text)]
    for found in _NUMBER.finditer(text):
        value = _decimal(found["digits"])
        if value is not None and not any(start <= found.start() < end for start, end in taken):
            yield _number(text, value, found, money=bool(found["sign"] or found["unit"]))
    for found in re.finditer(rf"\b(?:{'|'.join(_COUNTS)})\b", text, re.IGNORECASE):
        yield _number(text, Decimal(_COUNTS.index(found.group().lower())), found, spelled=True)


def _number(text: str, value: Decimal, found: re.Match[str], money: bool = False, spelled: bool = False) -> Number:
    before = words(re.split(r"[.,;!?\d]", text[max(0, found.start() - 60) : found.start()])[-1])[-3:]
    after = words(re.split(r"[.,;!?\d]", text[found.end() : found.end() + 60])[0])[:2]
    counts = next(iter(stems(after[:1])), "")
    return Number(value, money, spelled, frozenset(stems(before)), frozenset(stems(after)), counts)


def _decimal(digits: str) -> Decimal | None:
    """1,299.00, 1.299,00, 1,299 and 29,99 as they are meant: a last mark with one or two digits is a decimal one."""
    parts = re.split(r"([.,])", digits)
    if len(parts) == 1:
        return Decimal(digits)
    *whole, mark, last = parts
    if len(whole) == 1 and (mark == "." or len(last) != 3):
        return Decimal(f"{whole[0]}.{last}")
    groups, marks = [*whole[2::2]], {*whole[1::2]}
    if any(len(group) != 3 for group in groups) or len(marks) > 1:
        return None
    if mark in marks or not marks:
        return Decimal("".join([*whole[::2], last])) if len(last) == 3 else None
    return Decimal(f"{''.join(whole[::2])}.{last}")


def codes(text: str) -> Iterator[tuple[str, frozenset[str]]]:
    """Words with digits that may be somebody's number or reference, with the stems of the words before them."""
    for found in re.finditer(r"(?<![\w.@$€£-])#?([A-Za-z0-9]+(?:[-_/][A-Za-z0-9]+)*)(?![\w@-])", text):
        token = found.group(1)
        if any(map(str.isdigit, token)) and not _ISO_DATE.fullmatch(token):
            yield token, frozenset(stem(word) for word in words(text[max(0, found.start() - 40) : found.start()])[-3:])


def quoted(text: str) -> list[str]:
    """What stands in quotation marks."""
    return [first or second for first, second in _QUOTED.findall(text)]


def named(name: str, text: str) -> str | None:
    """What a text says ``name`` is: ``the city is Rome``, ``my name is Ada``, ``to Rome`` for a destination."""
    last = name.split()[-1] if name.split() else ""
    for label in dict.fromkeys((name, last)):
        if label and (
            found := re.search(rf"\b{re.escape(label)}\s*(?:is|are|=|:)\s*([^.,;!?\n]+)", text, re.IGNORECASE)
        ):
            said = re.split(r"\s(?:and|but|because|please)\s", found.group(1))[0].strip(" \"'")
            if said and said.split()[0] not in {"not", "wrong", "broken", "missing", "the", "a", "still"}:
                return " ".join(said.split()[:8])
    if last == "name" and (found := re.search(rf"(?:[Mm]y name is|I am|I'm|[Tt]his is|[Cc]alled) {_NAME}", text)):
        return found.group(1)
    return _placed(name, text)


def _placed(name: str, text: str) -> str | None:
    for preposition, meant in _PLACES.items():
        if not set(meant.split()) & set(name.split()):
            continue
        if found := re.search(rf"\b{preposition} {_NAME}", text):
            return found.group(1)
        if len(preposition) <= 4 and (found := re.search(rf"\b{preposition} ([a-z]{{3,}})\b", text)):
            # Lower case is how people type, but "to return" is no place: only where both ends of a way are named.
            both = re.search(r"\bfrom [a-z]{3,} to [a-z]{3,}", text)
            if both and both.start() <= found.start() < both.end() and found.group(1) not in FUNCTION_WORDS:
                return found.group(1)
    return None
