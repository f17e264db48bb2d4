"""Columns that line up, in letters of every script."""

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

NOTHING = "-"
"""What stands in an empty cell, so that a program can tell the columns apart."""

LEAST = 20
"""Cells that a column keeps on a terminal, however little room there is."""

WORDS = 16
"""Cells that the last column gets, if others can be made narrower for it."""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], width: int | None = None) -> str:
    """Lines under a heading; the last column is as long as it is.

    ``width``: of the terminal. Then a column in which nothing stands is left out, and what does not fit is cut. None:
    for a program, with all there is.
    """
    columns = list(zip(head, *([cell or NOTHING for cell in row] for row in rows), strict=True))
    if width is not None:
        columns = [column for column in columns if {*column[1:]} != {NOTHING}]
    widths = [max(map(cell_len, column)) for column in columns]
    if width is not None:
        widths = _fitted(widths, width)
    return "\n".join(_line(row, widths, width) for row in zip(*columns, strict=True))


def cut(text: str, width: int | None) -> str:
    """The text, or as much of its beginning as fits, and three dots."""
    if width is None or cell_len(text) <= width:
        return text
    return f"{set_cell_size(text, max(width - 3, 0)).rstrip()}..."


def _fitted(widths: Sequence[int], width: int) -> list[int]:
    """The widest columns narrower, until there is room for the last."""
    *columns, last = widths
    while columns and sum(columns) + 2 * len(columns) + min(last, WORDS) > width and max(columns) > LEAST:
        columns[columns.index(max(columns))] -= 1
    return [*columns, last]


def _line(row: Sequence[str], widths: Sequence[int], width: int | None) -> str:
    *cells, last = row
    fitted = [cut(cell, wide) for cell, wide in zip(cells, widths, strict=False)]
    # Padded by hand: str.ljust counts characters, and half of the world's take two cells.
    padded = [cell + " " * (wide - cell_len(cell)) for cell, wide in zip(fitted, widths, strict=False)]
    return cut("  ".join([*padded, last]).rstrip(), width)
