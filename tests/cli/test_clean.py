"""What reaches a terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayline.cli.clean import Sieve, clean, one_line, visible


@pytest.mark.parametrize(
    ("hostile", "harmless"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07words", "words"),
        ("\x1b]52;c;Y2xpcGJvYXJk\x1b\\words", "words"),
        ("\x9b2Jgone", "gone"),
        ("\x1bPq#0\x1b\\sixel", "sixel"),
        ("a\rb\x08c\x00d\x7f", "abcd"),
        ("one\ttab\nline", "one\ttab\nline"),
        ("\u202eright to left\u2069", "right to left"),
        ("half\ud800", "half?"),
        ("[red]markup[/red]", "[red]markup[/red]"),
        ("Straße \N{FAMILY} 東京", "Straße \N{FAMILY} 東京"),
    ],
)
def test_nothing_that_steers_a_terminal_gets_through(hostile: str, harmless: str):
    """Escape sequences go as a whole, control characters go, line breaks, tabs and all scripts stay."""
    assert clean(hostile) == harmless


PIECES = st.lists(st.sampled_from(["\x1b", "[", "]", "3", "1m", "\x07", "\\", "P", "word ", "\n", "\x9b", "é", "("]))


@given(PIECES)
def test_a_sequence_cut_in_two_is_still_a_sequence(pieces: list[str]):
    """Text that comes in pieces is cleaned as if it had come at once; at most an unfinished end is held back."""
    sieve = Sieve()
    shown = "".join(map(sieve.feed, pieces))
    whole = clean("".join(pieces))
    assert whole.startswith(shown)
    assert "\x1b" not in shown


def test_a_sequence_that_never_ends_holds_back_no_more_than_it_may():
    """Somebody who opens a sequence and never closes it cannot silence the conversation."""
    sieve = Sieve()
    shown = sieve.feed("\x1b]0;") + "".join(sieve.feed("word " * 100) for _ in range(20))
    assert shown.count("word") > 900


@pytest.mark.timeout(10)
def test_a_megabyte_of_escapes_takes_no_time():
    """No input makes the cleaning slow."""
    for hostile in ("\x1b]" * 500_000, "\x1b[" * 500_000, "\x1b" * 1_000_000, "\x1b[1" * 300_000 + "m"):
        assert "\x1b" not in clean(hostile)
        Sieve().feed(hostile)


def test_what_is_to_be_approved_hides_nothing():
    """Invisible characters are written out where a person decides, and a line is one line where it must be."""
    assert visible("5\u202e00 \u200b EUR") == r"5\u202e00 \u200b EUR"
    assert one_line("  two\n\nlines\tand \x1b[1mmore ") == "two lines and more"
