"""The shared append-only sequence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayline.machine.log import Log


def test_a_version_never_changes() -> None:
    """Appending makes a longer log and leaves the old one as it was."""
    short = Log([1, 2])
    longer = short.append(3)
    assert list(short) == [1, 2]
    assert list(longer) == [1, 2, 3]


def test_two_futures_of_one_past_do_not_meet() -> None:
    """Appending twice to the same version gives two histories."""
    past = Log([1])
    left, right = past.append(2).append(3), past.append(9)
    assert list(left) == [1, 2, 3]
    assert list(right) == [1, 9]


def test_appending_shares_what_is_there() -> None:
    """A history that only grows is never copied."""
    log = Log[int]()
    versions = [log := log.append(number) for number in range(100)]
    assert len({id(version._items) for version in versions}) == 1


@given(st.lists(st.integers()), st.integers(-9, 9), st.slices(6))
def test_it_reads_like_a_list_of_its_own_items(items: list[int], index: int, part: slice) -> None:
    """Length, order, indices and slices are those of the items this version has."""
    log = Log(items)
    log.append(99)
    assert (len(log), list(log), log[:], log[part]) == (len(items), items, items, items[part])
    assert log.since(2) == items[2:]
    try:
        expected = items[index]
    except IndexError:
        with pytest.raises(IndexError):
            log[index]
    else:
        assert log[index] == expected


def test_logs_are_equal_when_their_items_are() -> None:
    """Equality is by content, so states can be compared."""
    assert Log([1]).append(2) == Log([1, 2])
    assert Log([1]) != Log([2])
    with pytest.raises(TypeError):
        hash(Log([1]))
