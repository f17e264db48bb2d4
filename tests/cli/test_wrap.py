"""Words to lines."""

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from relayline.cli.wrap import Wrap


def wrapped(*pieces: str, width: int = 20) -> str:
    written: list[str] = []
    wrap = Wrap(written.append, lambda: width)
    for piece in pieces:
        wrap.feed(piece)
    wrap.end()
    return "".join(written)


def test_lines_break_between_words():
    """Words that come in pieces are broken into indented lines between words, never inside one."""
    assert wrapped("the qui", "ck brown fox ju", "mps over") == "  the quick brown\n  fox jumps over\n"


def test_line_breaks_stay_and_outer_ones_go():
    """Line breaks and indentation of the text are kept; blank lines around it are not."""
    assert wrapped("\n\na\n\n  b\n", "\n") == "  a\n\n    b\n"


def test_a_word_longer_than_a_line_is_cut():
    """An address, or a script without spaces, fills lines and need not be waited for."""
    assert wrapped("x" * 40, width=18) == f"  {'x' * 16}\n  {'x' * 16}\n  {'x' * 8}\n"
    assert wrapped("東京" * 6, width=18) == f"  {'東京' * 4}\n  {'東京' * 2}\n"


def test_nothing_makes_no_line():
    """A reply without words leaves no trace."""
    assert wrapped("", " ", "\n") == ""


@given(st.lists(st.text(st.sampled_from("ab \n\t東"), max_size=30)), st.integers(1, 60))
def test_no_line_is_too_long_and_no_word_is_lost(pieces: list[str], width: int):
    """Whatever comes and however narrow the terminal is, all letters are there and no line is wider than it."""
    text = wrapped(*pieces, width=width)
    assert "".join(text.split()) == "".join("".join(pieces).split())
    assert all(cell_len(line.rstrip()) <= max(width, 10) for line in text.split("\n"))
