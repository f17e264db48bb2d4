"""Columns that line up."""

from inline_snapshot import snapshot
from rich.cells import cell_len

from relayline.cli.table import cut, table

HEAD = ("NAME", "OF", "WORDS")
ROWS = [("日本語", "", "short"), ("a", "", "長い文章を書いて表がどうなるか見てみます")]


def test_for_a_program():
    """All there is, in columns that line up in letters of every script, and a dash where nothing is."""
    assert table(HEAD, ROWS) == snapshot("""\
NAME    OF  WORDS
日本語  -   short
a       -   長い文章を書いて表がどうなるか見てみます\
""")


def test_for_a_terminal():
    """No column without anything in it, no line that is wider than the terminal."""
    assert table(HEAD, ROWS, 30) == snapshot("""\
NAME    WORDS
日本語  short
a       長い文章を書いて表...\
""")


def test_a_long_name_does_not_push_the_rest_away():
    """On a terminal the widest columns give way; for a program all is whole."""
    rows = [("x" * 300, "waiting for approval", "some words of the user, and more")]
    shown = table(HEAD, rows, 80).split("\n")[1]
    assert shown == f"{'x' * 37}...  waiting for approval  some words of..."
    assert "x" * 300 in table(HEAD, rows)


def test_half_of_a_wide_letter_is_none():
    """Where only half of a letter would fit, it is left out."""
    for width in range(3, 12):
        assert cell_len(cut("日本語日本語", width)) <= width
    assert cut("日本語", 6) == "日本語"
