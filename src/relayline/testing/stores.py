"""What every store must keep, as one suite."""

import asyncio
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from relayline.errors import SequenceConflict, SessionHeld, SessionNotFound, StoreError, UsageError
from relayline.events import (
    Compacted,
    Entry,
    Fact,
    Finished,
    Forked,
    Retried,
    SessionStarted,
    TurnStarted,
    UserSpoke,
)
from relayline.journal.checkpoints import checkpoints
from relayline.journal.store import Store
from relayline.messages import JSON, Media, Message, Text, user

ODD_IDS = (
    "a", "A", "a ", " a", "a/b", "a\\b", "../a", "..", ".", "/etc/passwd", "a.jsonl", "CON", "nul.txt", "a:b", "a?b",
    "a*", "%", "%2F", "_", "-", "--help", "'; DROP TABLE fact; --", '"', "$HOME", "{0}", "null", "0", "00", "é",
    "e\u0301", "ß", "ẞ", "İ", "日本", "🏳️", "x" * 300, "日" * 300,
)  # fmt: skip

ODD_TEXTS = (
    "", "\0", "a\0b", "👩🏽‍🚀 🏳️‍🌈", "\u202eright to left\u202c", "line\u2028separator\r\n\ttab", "e\u0301 is not é",
    "\x7f\x1b[31m", "\U0010ffff\ufffe\ufeff", '"quotes" \\ and {"json": true}', "'; DROP TABLE fact; --",
    "日" * 100_000,
)  # fmt: skip

MakeStore: TypeAlias = Callable[[], Store | Awaitable[Store]]
Reopen: TypeAlias = Callable[[Any], Store]


async def check_store(make_store: MakeStore, reopen: Reopen | None = None) -> None:
    """All that a store has to do, on an empty store of ``make_store`` for each rule.

    ``reopen``: for a store that outlives its process, opens once more what the given one keeps, while that one is still
    open. Its argument is the store of ``make_store``::

        await check_store(lambda: MyStore(new_path()), lambda store: MyStore(store.path))

    Raises:
        AssertionError: with the rule that is broken, and how.
    """
    for rule in RULES:
        made = make_store()
        store = made if not isinstance(made, Awaitable) else await made
        others: list[Store] = []

        def again(store: Store = store, others: list[Store] = others) -> Store:
            if reopen is None:
                return store
            others.append(reopen(store))
            return others[-1]

        try:
            await rule(store, again)
        except Exception as problem:
            what = (rule.__doc__ or "").partition("\n")[0]
            raise AssertionError(f"{type(store).__name__} breaks a rule of every store. {what} {problem}") from problem
        finally:
            for each in (*others, store, store):  # twice, because closing twice is harmless
                await each.aclose()


Again: TypeAlias = Callable[[], Store]


async def _appends_and_reads(store: Store, again: Again) -> None:
    """What was appended is read back, numbered from 1 without gaps, at one UTC time per batch."""
    assert await store.read("nobody") == [], "A session that does not exist reads as something."
    first = await store.append("s", [SessionStarted("team", "f"), UserSpoke(user("hi"))], after=0)
    second = await store.append("s", [TurnStarted(1, "triage")], after=2)
    for opened in (store, again()):
        kept = await opened.read("s")
        assert kept == [*first, *second], f"Read {kept!r:.300}, appended {[*first, *second]!r:.300}."
        assert [entry.seq for entry in kept] == [1, 2, 3], f"The numbers are {[entry.seq for entry in kept]}."
        assert all(entry.at.utcoffset() == timedelta(0) for entry in kept), "A time is not UTC."
        assert kept[0].at == kept[1].at, "Two facts of one batch have two times."


async def _reads_a_range(store: Store, again: Again) -> None:
    """``read`` gives the entries with after < seq <= upto, in a list that is the reader's own."""
    await _fill(store, "s", 5)
    for opened in (store, again()):
        for after in range(7):
            for upto in (None, *range(7)):
                found = [entry.seq for entry in await opened.read("s", after=after, upto=upto)]
                wanted = [seq for seq in range(1, 6) if after < seq and (upto is None or seq <= upto)]
                assert found == wanted, f"after={after}, upto={upto}: {found} instead of {wanted}."
    (await store.read("s")).clear()
    assert len(await store.read("s")) == 5, "Changing the list that was read changed the journal."


async def _compares(store: Store, again: Again) -> None:
    """An append at any position but the end raises SequenceConflict and writes nothing."""
    with _raises(SequenceConflict, "an append to a session that is shorter than was said"):
        await store.append("new", _facts(1), after=1)
    await _fill(store, "s", 3)
    for after in (0, 2, 4):
        with _raises(SequenceConflict, f"an append after {after} of 3"):
            await again().append("s", _facts(1), after=after)
    assert len(await store.read("s")) == 3, "A refused append has written."
    assert await store.read("new") == [], "A refused append has begun a session."
    assert [each.session_id for each in await store.sessions()] == ["s"], "A refused append has begun a session."


async def _has_one_winner(store: Store, again: Again) -> None:
    """Of many appends at one position exactly one succeeds; the others raise SequenceConflict."""
    stores = [store, again(), again()]
    for each in stores:
        await each.sessions()  # opened one by one: that files may be opened at once is a promise of some stores only
    for after in (0, 3, 6):
        batches = [[UserSpoke(user(f"{after} {number} {each}")) for each in range(3)] for number in range(12)]
        results = await asyncio.gather(
            *(stores[number % 3].append("s", batch, after=after) for number, batch in enumerate(batches)),
            return_exceptions=True,
        )
        won = [result for result in results if not isinstance(result, BaseException)]
        lost = [result for result in results if isinstance(result, SequenceConflict)]
        odd = [result for result in results if result not in lost and result not in won]
        assert (len(won), len(lost)) == (1, 11), (
            f"{len(won)} of 12 succeeded, {len(lost)} raised SequenceConflict; {odd!r:.300}"
        )
        kept = await store.read("s", after=after)
        assert kept == won[0], "The journal does not hold what the winner wrote."


async def _is_atomic(store: Store, again: Again) -> None:
    """A batch is kept whole or not at all: what JSON cannot hold is a StoreError, and nothing was written."""
    await _fill(store, "s", 2)
    for what, bad in _unkeepable():
        for session_id, after in (("s", 2), ("new", 0)):
            with _raises(StoreError, f"a fact with {what}"):
                await store.append(session_id, [*_facts(2), bad], after=after)
    for opened in (store, again()):
        assert len(await opened.read("s")) == 2, "A part of a refused batch was written."
        assert await opened.read("new") == [], "A part of a refused batch was written."
    await store.append("s", _facts(1), after=2)


async def _isolates(store: Store, again: Again) -> None:
    """Sessions do not mix, whatever their ids are made of."""
    for number, key in enumerate(ODD_IDS):
        await store.append(key, [UserSpoke(user(f"for {number}"))], after=0)
    for opened in (store, again()):
        for number, key in enumerate(ODD_IDS):
            words = [entry.fact.message.text for entry in await opened.read(key) if isinstance(entry.fact, UserSpoke)]
            assert words == [f"for {number}"], f"Session {key!r:.40} holds {words!r:.80}."
        found = {each.session_id for each in await opened.sessions()}
        lost = [f"{key!r:.40}" for key in ODD_IDS if key not in found]
        assert not lost, f"sessions() does not give {', '.join(lost)}."


async def _orders(store: Store, again: Again) -> None:
    """``sessions()`` gives every session once, the one most recently written to last."""
    assert await store.sessions() == [], "An empty store has sessions."
    for key, after in (("a", 0), ("b", 0), ("c", 0), ("a", 1), ("b", 1), ("a", 2)):
        await store.append(key, _facts(1), after=after)
    for opened in (store, again()):
        found = [(each.session_id, each.seq) for each in await opened.sessions()]
        assert found == [("c", 1), ("b", 2), ("a", 3)], f"They are {found}."
        summary, kept = (await opened.sessions())[-1], await opened.read("a")
        assert (summary.started, summary.updated) == (kept[0].at, kept[-1].at), "A summary's times are not its facts'."


async def _lists_checkpoints(store: Store, again: Again) -> None:
    """``list_checkpoints()`` gives where sessions rest, the newest last, as their journals say."""
    for key, after in (("a", 0), ("b", 0), ("a", 3)):
        batch = [SessionStarted("team", "f"), UserSpoke(user("hi")), Finished("terminal")]
        await store.append(key, batch if not after else batch[1:], after=after)
    for opened in (store, again()):
        for key in ("a", "b", "nobody"):
            found, wanted = await opened.list_checkpoints(key), list(checkpoints(key, await opened.read(key)))
            assert found == wanted, f"Of {key!r} they are {found}, not {wanted}."
        every = await opened.list_checkpoints()
        assert {each.checkpoint_id for each in every} >= {"a@5", "b@3"}, f"They are {every}."
        assert every == sorted(every, key=lambda each: each.timestamp), "The newest checkpoint is not the last."


async def _keeps_any_text(store: Store, again: Again) -> None:
    """Any valid Unicode comes back as it went in, and so do numbers, nesting and a megabyte."""
    said = [UserSpoke(Message("user", (Text(text),), text[:20], {text[:20]: text[:20]})) for text in ODD_TEXTS]
    nested: dict[str, JSON] = {"a": [None, True, 0, -1, 2**70, 1.5, 5e-324, {"": [[]], "b": {}}]}
    batch = [*said, UserSpoke(Message("user", (), "", nested)), UserSpoke(user("x" * 1_000_000))]
    await store.append("s", batch, after=0)
    for opened in (store, again()):
        for wrote, entry in zip(batch, await opened.read("s"), strict=True):
            assert entry.fact == wrote, f"{wrote!r:.80} came back as {entry.fact!r:.80}."


async def _survives_cancelling(store: Store, again: Again) -> None:
    """A cancelled append has happened entirely or not at all, and the store goes on."""
    after = 0
    for ticks in range(8):
        task = asyncio.create_task(store.append("s", _facts(5), after=after))
        for _ in range(ticks):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        # What is on its way cannot be called back: it either gets there before this, or this takes its place.
        with suppress(SequenceConflict):
            await again().append("s", _facts(1), after=after)
        grown = len(await store.read("s")) - after
        assert grown in (1, 5), f"{grown} facts of a batch of 5 were written."
        after += grown


async def _outlives(store: Store, again: Again) -> None:
    """What one handle wrote before it was closed, the next one goes on with."""
    other = again()
    await _fill(store, "s", 3)
    if other is not store:
        await store.aclose()
    await other.append("s", _facts(2), after=3)
    assert len(await other.read("s")) == 5, "The journal is not whole after one handle was closed."


async def _forks(store: Store, again: Again) -> None:
    """A branch has the first facts of another session, with their times, then says where it comes from, and goes on."""
    origin = [*await store.append("s", _facts(3), after=0), *await store.append("s", _facts(2), after=3)]
    await again().fork("s", "b", upto=4)
    await store.fork("b", "c", upto=3)
    await store.fork("b", "d", upto=5)
    await store.append("s", [Retried("later")], after=5)
    await store.append("d", [Retried("own")], after=6)
    with _raises(SequenceConflict, "an append to a branch as if it were empty"):
        await store.append("b", _facts(1), after=0)
    for opened in (store, again()):
        for key, shared, begun, own in (
            ("b", 4, [Forked("s", 4)], []),
            ("c", 3, [Forked("b", 3)], []),
            ("d", 4, [Forked("s", 4), Forked("b", 5)], [Retried("own")]),
        ):
            kept = await opened.read(key)
            assert kept[:shared] == origin[:shared], f"Branch {key!r} begins with {kept[:shared]!r:.300}."
            assert [each.fact for each in kept[shared:]] == [*begun, *own], f"It goes on with {kept[shared:]!r:.300}."
            assert [each.seq for each in kept] == [*range(1, len(kept) + 1)], f"Its numbers are {kept!r:.300}."
            for after in range(len(kept)):
                assert await opened.read(key, after=after, upto=5) == kept[after:5], f"after={after} reads differently."
        assert len(await opened.read("s")) == 6, "A branch has changed where it comes from."
        found = {each.session_id: (each.parent, each.shared, each.seq) for each in await opened.sessions()}
        wanted = {"s": ("", 0, 6), "b": ("s", 4, 5), "c": ("b", 3, 4), "d": ("b", 5, 7)}
        assert found == wanted, f"The sessions are {found}."


async def _restores(store: Store, again: Again) -> None:
    """A session is taken in whole, with its numbers and times, or refused and nothing is written."""
    dates = [datetime(2001, 2, 3, 4, 5, 6, second, UTC) for second in (1, 1, 2)]
    photo = UserSpoke(Message("user", (Media.from_bytes(bytes(50_000), "image/png"),)))
    facts: list[Fact] = [_stand_in(7), photo, *_facts(1)]
    entries = [Entry(seq, at, fact) for seq, (at, fact) in enumerate(zip(dates, facts, strict=True), 7)]
    await again().restore("s", entries)
    await store.append("s", _facts(1), after=9)
    for opened in (store, again()):
        kept = await opened.read("s")
        assert kept[:-1] == entries, f"{entries!r:.300} came back as {kept!r:.300}."
        assert await opened.read("s", after=7, upto=8) == entries[1:2], "A range of it differs."
        (found,) = await opened.sessions()
        assert (found.seq, found.started) == (10, dates[0]), f"The session is {found}."
    with _raises(SequenceConflict, "restoring a session that is there"):
        await again().restore("s", entries)
    for what, bad in _unkeepable():
        with _raises(StoreError, f"restoring a fact with {what}"):
            await store.restore("new", [*entries, Entry(10, dates[2] + timedelta(days=1), bad)])
    assert await store.read("new") == [], "A part of a refused session was written."
    assert await again().read("s", upto=9) == entries, "A refused session has changed another one."


async def _refuses_to_restore(store: Store, again: Again) -> None:
    """What has gaps, another beginning or another order is not taken in, and nothing is written."""
    at = datetime(2001, 2, 3, tzinfo=UTC)
    one, two, three = (Entry(seq, at, fact) for seq, fact in enumerate(_facts(3), 1))
    for what, entries in (
        ("nothing", []),
        ("a gap", [one, three]),
        ("another beginning", [two, three]),
        ("the reverse order", [three, two, one]),
        ("a number that is there twice", [one, one, two]),
        ("the number 0", [one._replace(seq=0)]),
        ("a negative number", [one._replace(seq=-4), two._replace(seq=-3)]),
        ("a stand-in of another number", [Entry(6, at, _stand_in(7)), Entry(7, at, one.fact)]),
        ("a stand-in for nothing", [Entry(0, at, _stand_in(0)), one]),
        ("a number beyond all", [Entry(2**70, at, _stand_in(2**70))]),
    ):
        with _raises(StoreError, f"restoring {what}"):
            await store.restore("s", entries)
        for opened in (store, again()):
            assert await opened.read("s") == [], f"Of {what} something was written."
            assert await opened.sessions() == [], f"Of {what} something was written."
    await again().restore("s", [one, two, three])


async def _refuses_to_fork(store: Store, again: Again) -> None:
    """A branch needs a session, a fact to begin after, and a name nobody has."""
    await _fill(store, "s", 3)
    await _fill(store, "other", 1)
    with _raises(SessionNotFound, "a branch of nothing"):
        await store.fork("nobody", "b", upto=1)
    for upto in (0, 4, -1):
        with _raises(UsageError, f"a branch after fact {upto} of 3"):
            await store.fork("s", "b", upto=upto)
    for taken in ("other", "s"):
        with _raises(SequenceConflict, "a branch under the name of another session"):
            await again().fork("s", taken, upto=2)
    found = {each.session_id: each.seq for each in await store.sessions()}
    assert found == {"s": 3, "other": 1}, f"What was refused has left {found}."


async def _cuts(store: Store, again: Again) -> None:
    """A cut leaves one fact in the place of the first ones, with the time and number of the last of them."""
    kept = [*await store.append("s", _facts(4), after=0), *await store.append("s", _facts(2), after=4)]
    await store.fork("s", "b", upto=5)
    branch = await store.read("b")
    await again().cut("s", _stand_in(3))
    for opened in (store, again()):
        assert await opened.read("s") == [Entry(3, kept[2].at, _stand_in(3)), *kept[3:]], "The cut session differs."
        assert await opened.read("s", after=3, upto=5) == kept[3:5], "A range of a cut session differs."
        assert await opened.read("s", upto=2) == [], "What was cut is still there."
        assert await opened.read("b") == branch, "A cut has changed a branch."
    await store.append("s", _facts(1), after=6)
    await store.cut("b", _stand_in(2))
    await store.cut("s", _stand_in(6))
    assert [each.seq for each in await again().read("s")] == [6, 7], "A second cut went wrong."
    assert [each.seq for each in await again().read("b")] == [2, 3, 4, 5, 6], "The cut of a branch went wrong."
    found = {each.session_id: (each.parent, each.shared, each.seq) for each in await store.sessions()}
    assert found == {"s": ("", 0, 7), "b": ("", 0, 6)}, f"The sessions are {found}."
    with _raises(SessionNotFound, "a cut of nothing"):
        await store.cut("nobody", _stand_in(2))
    for upto in (5, 6, 7, 8):
        with _raises(UsageError, f"a cut up to {upto} of 6 to 7"):
            await store.cut("s", _stand_in(upto))
    with _raises(UsageError, "a branch from what was cut away"):
        await store.fork("s", "c", upto=5)


async def _deletes(store: Store, again: Again) -> None:
    """A deleted session is gone; its branches keep what they shared, and its name may be used again."""
    await _fill(store, "s", 3)
    await store.fork("s", "b", upto=2)
    await store.fork("b", "c", upto=3)
    branches = {key: await store.read(key) for key in ("b", "c")}
    await again().delete("s")
    await store.delete("b")
    for opened in (store, again()):
        assert await opened.read("s") == await opened.read("b") == [], "A deleted session can be read."
        assert await opened.read("c") == branches["c"], "A branch has lost something."
        found = [(each.session_id, each.parent, each.shared) for each in await opened.sessions()]
        assert found == [("c", "", 0)], f"The sessions are {found}."
    with _raises(SessionNotFound, "deleting what is gone"):
        await store.delete("s")
    with _raises(SequenceConflict, "an append to a session that was deleted"):
        await store.append("s", _facts(1), after=3)
    await again().append("s", _facts(1), after=0)
    assert len(await store.read("s")) == 1, "What is new under the name of something deleted is not whole."


async def _stands(store: Store, again: Again) -> None:
    """``stands`` tells whether a session begins and ends as it did, whoever wrote to it, cut it or began it anew."""
    large = UserSpoke(Message("user", (Media.from_bytes(bytes(50_000), "image/png"),)))
    last = (await store.append("s", [*_facts(3), large], after=0))[-1]
    assert not await store.stands("nobody", 1, last), "A session that does not exist stands."
    await store.fork("s", "b", upto=4)
    branched = (await store.read("b"))[-1]
    for opened in (store, again()):
        assert await opened.stands("s", 1, last), "A session that nobody touched does not stand."
        assert await opened.stands("b", 1, branched), "A branch that nobody touched does not stand."
        assert not await opened.stands("s", 5, last), "A session stands that has no fact of the number it begins with."
        other = last._replace(fact=Retried("another"))
        assert not await opened.stands("s", 1, other), "A session stands that ends otherwise."
    await again().cut("s", _stand_in(2))
    assert not await store.stands("s", 1, last), "A session stands whose beginning was cut."
    assert await store.stands("s", 2, last), "A session does not stand that begins where it was cut."
    await again().append("s", _facts(1), after=4)
    assert not await store.stands("s", 2, last), "A session stands that has gone on."
    await again().delete("s")
    assert not await store.stands("s", 2, last), "A session stands that was deleted."


async def _holds(store: Store, again: Again) -> None:
    """What is held is neither deleted nor cut, says why, and goes on otherwise; an empty reason lets go of it."""
    await _fill(store, "s", 3)
    await again().hold("s", "case 12 \u2028 日本")
    for opened in (store, again()):
        assert [each.held for each in await opened.sessions()] == ["case 12 \u2028 日本"], (
            "It does not say that it is held."
        )
        with _raises(SessionHeld, "deleting what is held"):
            await opened.delete("s")
        with _raises(SessionHeld, "a cut of what is held"):
            await opened.cut("s", _stand_in(2))
    await store.append("s", _facts(1), after=3)
    await store.fork("s", "b", upto=2)
    await store.delete("b")
    assert len(await store.read("s")) == 4, "A held session has changed."
    await store.hold("s", "")
    await again().cut("s", _stand_in(2))
    await again().delete("s")
    with _raises(SessionNotFound, "holding what is gone"):
        await store.hold("s", "case 12")


async def _keeps_media(store: Store, again: Again) -> None:
    """Images and files come back as they were, whatever becomes of the sessions that share them."""
    large = [
        Media.from_bytes(bytes([number]) * size, "image/png") for number, size in enumerate((10, 50_000, 3_000_000))
    ]
    batch: list[Fact] = [UserSpoke(Message("user", (Text("look"), media, *large[:2]))) for media in large]
    await store.append("s", batch, after=0)
    await store.append("s", [*batch, *_facts(1)], after=3)
    await store.fork("s", "b", upto=5)
    await store.append("b", batch, after=6)
    for opened in (store, again()):
        assert [each.fact for each in await opened.read("s")] == [*batch, *batch, *_facts(1)], "They differ."
        assert [each.fact for each in await opened.read("b", after=6)] == batch, "They differ in a branch."
    await store.cut("s", _stand_in(5))
    assert [each.fact for each in await again().read("s", after=5)] == [batch[2], *_facts(1)], "A cut took too much."
    await store.delete("s")
    for opened in (store, again()):
        facts = [each.fact for each in await opened.read("b")]
        assert facts == [*batch, *batch[:2], Forked("s", 5), *batch], "A branch has lost them."


async def _waits(store: Store, again: Again) -> None:
    """``wait`` ends as soon as somebody writes, at once if somebody has, and when its time is up."""
    assert not await store.wait("s", after=0, seconds=0), "Nothing was written, and it says so."
    waiting = asyncio.create_task(store.wait("s", after=2, seconds=20))
    await again().append("s", _facts(2), after=0)
    assert await store.wait("s", after=1, seconds=0), "Something was written, and it does not say so."
    await again().append("s", _facts(1), after=2)
    assert await waiting, "It did not say that something was written."


async def _follows(store: Store, again: Again) -> None:
    """Who looks after each read, from before the first, is told of everything that was written since."""
    await _fill(store, "s", 1)
    async with store.following("s") as look:
        seen = len(await store.read("s"))
        for written in range(1, 4):
            looking = asyncio.ensure_future(look(seen, 20))
            await again().append("s", _facts(1), after=written)
            while len(await store.read("s")) > seen:
                assert await looking, "It did not say that something was written."
                seen = len(await store.read("s"))
            looking.cancel()
        assert seen == 4, "Something is missing."


RULES: tuple[Callable[[Store, Again], Awaitable[None]], ...] = (
    _appends_and_reads,
    _reads_a_range,
    _compares,
    _has_one_winner,
    _is_atomic,
    _isolates,
    _orders,
    _lists_checkpoints,
    _keeps_any_text,
    _survives_cancelling,
    _outlives,
    _restores,
    _refuses_to_restore,
    _forks,
    _refuses_to_fork,
    _cuts,
    _deletes,
    _stands,
    _holds,
    _keeps_media,
    _waits,
    _follows,
)


def _facts(count: int) -> list[Fact]:
    return [Retried(f"t{number}") for number in range(count)]


async def _fill(store: Store, session_id: str, count: int) -> None:
    await store.append(session_id, _facts(count), after=0)


def _stand_in(upto: int) -> Compacted:
    return Compacted(upto, "team", "f", turns=2, shared={"a": [1]})


def _unkeepable() -> list[tuple[str, Fact]]:
    def with_metadata(value: Any) -> Fact:
        return UserSpoke(Message("user", (Text("hi"),), "", {"value": value}))

    return [
        ("half a character", UserSpoke(user("\ud800"))),
        ("half a character in a key", UserSpoke(Message("user", (), "", {"\udfff": 1}))),
        ("NaN", with_metadata(float("nan"))),
        ("infinity", with_metadata([float("inf")])),
        ("an object", with_metadata(object())),
        ("a set", with_metadata({1, 2})),
        ("media that name what is kept beside the journal", UserSpoke(Message("user", (Media("a/b", "sha256:00"),)))),
    ]


@contextmanager
def _raises(kind: type[Exception], what: str) -> Generator[None]:
    try:
        yield
    except kind:
        return
    except Exception as error:
        raise AssertionError(f"{what} raised {error!r:.200} instead of {kind.__name__}.") from error
    raise AssertionError(f"{what} was accepted; {kind.__name__} was expected.")
