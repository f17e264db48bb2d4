"""What models, tools and strangers wrote, made harmless for a terminal.

An escape sequence in a reply could retitle the window, fill the clipboard or repaint an approval card. Sequences go as
a whole, so that their innards do not stay behind as litter; of what is left, control characters go and line breaks and
tabs stay. So do letters of every script, but not the marks that turn their direction: they can make a line read as
what it does not say (CVE-2021-42574).
"""

import json
import re
import unicodedata

from relayline.messages import JSON

_STRING_BODY = r"[^\x07\x1b\x9c]"
_SEQUENCE = re.compile(
    rf"""
      (?:\x1b\[|\x9b) [0-?]* [\ -/]* [@-~]                                # CSI: colours, cursor
    | (?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f]) {_STRING_BODY}{{0,4096}} (?:\x07|\x1b\\|\x9c)  # OSC, DCS: title, clipboard
    | \x1b [\ -/]* [0-~]                                                  # the short ones
    """,
    re.VERBOSE,
)
_UNFINISHED = re.compile(
    rf"""
    (?: (?:\x1b\[|\x9b) [0-?]* [\ -/]*
      | (?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f]) {_STRING_BODY}{{0,4096}} \x1b?
      | \x1b [\ -/]*
    ) \Z
    """,
    re.VERBOSE,
)
_CONTROLS = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}
_DIRECTIONS = dict.fromkeys((0x200E, 0x200F, 0x061C, *range(0x202A, 0x202F), *range(0x2066, 0x206A)))
_LINE_BREAKS = {0x2028: "\n", 0x2029: "\n"}
_HARMLESS = _CONTROLS | _DIRECTIONS | _LINE_BREAKS


def clean(text: str) -> str:
    """The text without escape sequences, control characters (line feed and tab stay) and direction marks."""
    return _SEQUENCE.sub("", text).translate(_HARMLESS).encode("utf-8", "replace").decode()


def one_line(text: str) -> str:
    """The cleaned text with each run of white space as one space."""
    return " ".join(clean(text).split())


def visible(text: str) -> str:
    r"""The text with everything invisible written out (``\u202e``): for what a person is about to approve."""
    return "".join(f"\\u{ord(each):04x}" if _hidden(each) else each for each in text)


def json_text(value: JSON, indent: int | None = 2) -> str:
    """The value as JSON that a terminal can take: letters as they are, everything invisible as an escape."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    return "".join(json.dumps(each)[1:-1] if each != "\n" and _hidden(each) else each for each in text)


def _hidden(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}


class Sieve:
    """`clean` for text that comes in pieces, where a sequence may begin in one piece and end in the next."""

    def __init__(self) -> None:
        self._held = ""

    def feed(self, piece: str) -> str:
        """What can be shown by now."""
        text = self._held + piece
        unfinished = _UNFINISHED.search(text)
        end = unfinished.start() if unfinished else len(text)
        self._held = text[end:]
        return clean(text[:end])
