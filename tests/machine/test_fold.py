"""What facts make of the state, where no random world comes to it."""

from relayline.events import Roster, TeamChanged, UserSpoke
from relayline.machine.fold import evolve, fold
from relayline.machine.state import Floor, State
from relayline.messages import user


def test_nobody_gives_back_to_who_is_gone_in_a_team_either():
    """A team that changed has no callers left that it does not know, at any depth; the state before it still has them."""
    waiting = Floor("bob", ("ann", "cy"))
    before = State(floor=waiting, teams={"desk": State(floor=waiting)})
    after = evolve(before, TeamChanged("f", Roster({"cy": ""}, teams={"desk": Roster({"ann": ""})})))
    assert (after.floor.callers, after.teams["desk"].floor.callers) == (("cy",), ("ann",))
    assert before.floor == before.teams["desk"].floor == waiting


def test_a_fold_goes_on_from_a_state_and_leaves_it_as_it_was():
    """Two futures of one past do not know each other."""
    past = fold([UserSpoke(user("hello"))])
    one, other = fold([UserSpoke(user("one"))], past), fold([UserSpoke(user("other"))], past)
    assert [[each.text for each in state.transcript] for state in (past, one, other)] == [
        ["hello"],
        ["hello", "one"],
        ["hello", "other"],
    ]
