"""Words to lines while they are still coming."""

import re
from collections.abc import Callable

from rich.cells import cell_len, chop_cells

_TOKEN = re.compile(r"\n|[^\S\n]+|\S+")


class Wrap:
    """Breaks a stream of text between words and indents every line.

    A word is written once it is known to be whole. ``write`` gets text without a line break, or one line break by
    itself; ``width``: how many cells a line has now. Blank lines at the beginning and the end are left out.
    """

    def __init__(self, write: Callable[[str], None], width: Callable[[], int], indent: int = 2) -> None:
        self._write = write
        self._width = width
        self._indent = indent
        self._column = 0  # 0: the line is not begun
        self._breaks = 0  # line breaks not written yet, because nothing may follow them
        self._space = 0
        self._word = ""

    @property
    def is_empty(self) -> bool:
        """Whether nothing was written so far."""
        return not self._column and not self._word

    def feed(self, text: str) -> None:
        """Take the next piece."""
        for token in _TOKEN.findall(text.replace("\t", "    ")):
            if not token.isspace():
                self._word += token
                self._overflow()
                continue
            self._flush()
            if token == "\n":
                self._breaks += 1
                self._space = 0
            else:
                self._space += len(token)

    def end(self) -> None:
        """Write what is held back and finish the line."""
        self._flush()
        if self._column:
            self._write("\n")
        self._column = self._breaks = self._space = 0

    def _room(self) -> int:
        return max(self._width() - self._indent, 8)

    def _overflow(self) -> None:
        """A word of more than a line (an address, or a script without spaces) need not be waited for."""
        while cell_len(self._word) > self._room():
            first, *rest = chop_cells(self._word, self._room())
            self._word = first
            self._flush()
            self._word = "".join(rest)

    def _flush(self) -> None:
        word, self._word = self._word, ""
        if not word:
            return
        if self._column and self._breaks:
            self._begin(self._breaks)
        elif self._column and self._column + self._space + cell_len(word) > self._room() + self._indent:
            self._space = 0
            self._begin(1)
        if not self._column:
            self._write(" " * self._indent)
            self._column = self._indent
        space = min(self._space, max(self._room() + self._indent - self._column - cell_len(word), 0))
        self._write(" " * space + word)
        self._column += space + cell_len(word)
        self._breaks = self._space = 0

    def _begin(self, breaks: int) -> None:
        for _ in range(breaks):
            self._write("\n")
        self._column = 0
