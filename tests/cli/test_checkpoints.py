"""``relayline checkpoints``: where sessions rested, and how two places differ."""

from pathlib import Path

from inline_snapshot import snapshot

from tests.cli.conftest import TEAM
from tests.cli.kept import call, hold, inside, journal, parsed


def test_where_sessions_rested(store: Path):
    """A line per checkpoint, the newest last, of one session or of all; what waited there, by its id."""
    hold(store, "s", "hello", "order", "money")
    hold(store, "t", "hello")
    rows = call("checkpoints", "list", "s", "--store", store).output.strip().split("\n")
    assert [" ".join(row.split()[:1] + row.split()[3:]) for row in rows] == snapshot(
        [
            "CHECKPOINT WAITS FOR",
            "s@6 triage s/r1 (question)",
            "s@20 orders s/r2 (question)",
            "s@25 orders s/r3 (approval)",
        ]
    )
    every = parsed("checkpoints", "list", "--store", store)
    assert [each["checkpoint_id"] for each in every] == ["s@6", "s@20", "s@25", "t@6"]
    del every[0]["timestamp"]
    assert every[0] == snapshot(
        {
            "checkpoint_id": "s@6",
            "session_id": "s",
            "seq": 6,
            "active_agent": "triage",
            "requests": [{"request_id": "s/r1", "kind": "question"}],
        }
    )
    assert call("checkpoints", "list", "nobody", "--store", store).exit_code == 2


def test_two_branches(store: Path):
    """What they have in common is counted, what they have not is shown with its side's sign."""
    hold(store, "s", "hello", "order")
    call("sessions", "fork", "s", "--at", "6", "--as", "b", "--store", store)
    call("chat", TEAM, "--session", "b", "--store", store, lines="something else\n")
    assert call("checkpoints", "diff", "s", "b", "--store", store).output == snapshot("""\
--- s@20
+++ b@13
    6 facts in common
- user: order
- triage: One moment.
- -- triage -> orders (asks about an order)
-    find_order(number="A-1") = Order A-1 was delivered.
- orders: So: Order A-1 was delivered.
+ -- a branch of s@6 from here on
+ user: something else
+ triage: You said 14 characters.
""")
    every = call("checkpoints", "diff", "s", "b", "--facts", "--store", store).output.strip().split("\n")
    assert len(every) == 3 + 14 + 7
    shown = parsed("checkpoints", "diff", "s", "b", "--store", store)
    assert shown["common"] == 6
    assert [each["seq"] for each in shown["one"]["entries"]] == list(range(7, 21))
    assert shown["other"]["entries"][0]["fact"] == {"type": "forked", "session": "s", "upto": 6}


def test_one_session_at_two_times(store: Path):
    """The same session earlier and later differs by what came between; two sessions may be strangers."""
    hold(store, "s", "hello", "order")
    hold(store, "t", "hello")
    assert call("checkpoints", "diff", "s@6", "s@9", "--store", store).output == snapshot("""\
--- s@6
+++ s@9
    6 facts in common
+ user: order
""")
    backwards = parsed("checkpoints", "diff", "s", "s@6", "--store", store)
    assert (backwards["common"], len(backwards["one"]["entries"]), backwards["other"]["entries"]) == (6, 14, [])
    assert parsed("checkpoints", "diff", "s", "t", "--store", store)["common"] == 0
    for wrong in ("s@99", "nobody", "s@", "@6", "nobody@6"):
        assert call("checkpoints", "diff", "s", wrong, "--store", store).exit_code == 2


def test_an_id_with_an_at_in_it(store: Path):
    """`ann@6` is fact 6 of `ann` if there is an `ann`, and else a session."""
    hold(store, "ann@6", "hello")
    assert parsed("checkpoints", "show", "ann@6", "--store", store)["session_id"] == "ann@6"
    assert parsed("checkpoints", "show", "ann@6@3", "--store", store)["at"] == 3
    hold(store, "ann", "hello", "order")
    shown = parsed("checkpoints", "show", "ann@6", "--store", store)
    assert (shown["session_id"], shown["at"]) == ("ann", 6)


def test_after_compacting(store: Path):
    """Numbers stay what they were; what was forgotten is no place any more."""
    hold(store, "s", "hello", "how are you", "fine")

    async def cut(place):
        from relayline.history import compact

        await compact(place, "s", messages=1)

    last = len(journal(store, "s"))
    inside(store, cut)
    assert parsed("checkpoints", "show", f"s@{last}", "--store", store)["at"] == last
    refused = call("checkpoints", "show", "s@3", "--store", store)
    assert refused.exit_code == 2
    assert "there is no number 3" in refused.output
