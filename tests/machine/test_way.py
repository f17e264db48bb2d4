"""Which turns led to which, as facts tell it."""

from relayline.events import (
    Failed,
    HandedBack,
    HandoffSent,
    Joined,
    Retried,
    TeamChanged,
    TurnEnded,
    TurnStarted,
    UserSpoke,
    Warned,
    Within,
)
from relayline.machine.way import TurnTaken, handed_over, way
from relayline.messages import Message

SAID = UserSpoke(Message("user"))


def states(*facts) -> list[str]:
    return [turn.state for turn in way(facts)]


def test_without_more_a_turn_goes_on_from_the_one_before():
    """Until the user says something else."""
    one, other = TurnStarted(1, "a"), TurnStarted(2, "b")
    assert way([SAID, one, TurnEnded(1, "a"), other, TurnEnded(2, "b"), SAID, TurnStarted(3, "a")]) == [
        TurnTaken(1, "a", (), 1, "over"),
        TurnTaken(2, "b", (1,), 1, "over"),
        TurnTaken(3, "a", (), 2, "open"),
    ]


def test_turns_beside_one_another_go_on_from_what_they_say():
    """Those that begin a message from none, whoever ended first."""
    begun = [TurnStarted(1, "a", apart=True), TurnStarted(2, "b", apart=True)]
    ended = [TurnEnded(2, "b"), TurnEnded(1, "a"), Joined((1, 2)), TurnStarted(3, "c", after=(1, 2))]
    assert [turn.after for turn in way([SAID, *begun, *ended])] == [(), (), (1, 2)]


def test_a_turn_that_was_forgotten_led_to_nothing():
    """A compacted journal begins somewhere."""
    assert way([TurnStarted(9, "c", after=(7, 8))]) == [TurnTaken(9, "c")]


def test_a_failure_is_one_until_it_is_retried():
    """Also in a team within the team; a turn that others go on without has failed for good."""
    begun = [SAID, TurnStarted(1, "a", apart=True), TurnStarted(2, "desk", apart=True)]
    failed = Failed("t2.t1-s1", "desk/b", "Error", "no")
    assert states(*begun, failed) == ["open", "failed"]
    assert states(*begun, failed, Retried("t2.t1-s1")) == ["open", "open"]
    assert states(*begun, TurnEnded(1, "a", failed="no"), Retried("")) == ["failed", "open"]
    assert states(*begun, Failed("", "", "Error", "a condition")) == ["open", "open"]


def test_a_turn_that_is_over_stays_over():
    """Whatever is retried later, a turn that once failed was retried before, or the user's next message ended it."""
    begun, failed, ended = TurnStarted(1, "a"), Failed("t1-s1", "a", "Error", "no"), TurnEnded(1, "a")
    assert states(SAID, begun, failed, Retried("t1-s1"), ended, Retried("")) == ["over"]
    assert states(SAID, begun, failed, ended, SAID, TurnStarted(2, "a"), Retried("")) == ["over", "open"]


def test_what_is_renamed_was_always_called_so():
    """In what went before; what goes on in a team is that team's one turn."""
    inside = Within(1, TurnStarted(1, "c"))
    renamed = TeamChanged("f", renamed={"a": "b"})
    assert way([SAID, TurnStarted(1, "a"), inside, Warned("x", "y"), renamed]) == [TurnTaken(1, "b", (), 1)]


def test_handoffs_in_a_team_are_of_that_team():
    """Those of the team around it are the way that the conversation took, by the names of today."""
    there, back = HandoffSent(1, "a", "desk", returns="caller"), HandedBack(2, "desk", "a")
    inside = [Within(2, HandoffSent(1, "sorter", "clerk")), Within(2, Within(1, HandedBack(2, "y", "x")))]
    renamed = TeamChanged("f", renamed={"a": "b"})
    assert handed_over([SAID, there, *inside, back, renamed]) == [
        HandoffSent(1, "b", "desk", returns="caller"),
        HandedBack(2, "desk", "b"),
    ]
