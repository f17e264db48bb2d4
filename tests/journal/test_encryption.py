"""Stores with a cipher: nobody reads what was said without its key, and keys can be changed."""

import itertools
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import pytest
from cryptography.fernet import Fernet, MultiFernet

from relayline import (
    FileCheckpointStorage,
    HandoffBuilder,
    Media,
    Message,
    SqliteCheckpointStorage,
    StoreError,
    Text,
    ToolContext,
    tool,
)
from relayline.errors import DamagedJournal
from relayline.events import Compacted, Fact, Retried, UserSpoke
from relayline.journal.packing import Cipher
from relayline.journal.store import Store
from relayline.messages import user
from relayline.testing import ScriptedClient, call, check_store

Make = Callable[[Path, Cipher | None], Store]

STORES: dict[str, Make] = {
    "file": lambda place, cipher: FileCheckpointStorage(place / "store", cipher=cipher),
    "sqlite": lambda place, cipher: SqliteCheckpointStorage(place / "store.db", cipher=cipher),
}

every_store = pytest.mark.parametrize("make", STORES.values(), ids=STORES)

PICTURE = Media.from_bytes(b"\x89PNG a picture of Marguerite's passport " * 200, "image/png", "passport.png")


def fernet() -> Fernet:
    return Fernet(Fernet.generate_key())


def all_bytes(place: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in place.rglob("*") if path.is_file())


@every_store
async def test_a_store_with_a_cipher_keeps_the_rules_of_every_store(make: Make, tmp_path: Path):
    """It passes the conformance suite, with several handles that have the same key."""
    places = (tmp_path / str(number) for number in itertools.count())
    key = fernet()

    def made() -> Store:
        place = next(places)
        place.mkdir()
        return make(place, key)

    await check_store(made, lambda store: make(store.path.parent, key))


@tool
def look_up(passport: str, context: ToolContext) -> str:
    """Look a passport up."""
    context.state["holder"] = "Marguerite"
    return f"{passport} is Marguerite's"


@every_store
async def test_nothing_of_a_conversation_is_legible_in_any_file(make: Make, tmp_path: Path):
    """Words, arguments, results, names, what the team keeps in common and pictures; ids of sessions are, and times."""
    store = make(tmp_path, fernet())
    client = ScriptedClient(call("look_up", passport="C01X0006H"), "It is Marguerite's.")
    agent = client.as_agent("border-officer", tools=[look_up])
    team = HandoffBuilder(name="border", participants=[agent]).with_checkpointing(store).build()
    async with aclosing(store):
        await team.run(
            Message("user", (Text("Whose is C01X0006H?"), PICTURE)), session_id="case-7", state={"desk": "Gare du Nord"}
        )
        await store.fork("case-7", "case-7-again", upto=3)
        kept = all_bytes(tmp_path)
    found = await team.with_store(make(tmp_path, store._packer.cipher)).session("case-7")
    assert found.conversation[-1].text == "It is Marguerite's."
    assert b"case-7" in kept
    words = [
        b"Marguerite",
        b"C01X0006H",
        b"border",
        b"Gare du Nord",  # three letters alone turn up in what a cipher makes, now and then
        b"passport",
        b"\x89PNG",
        b"look_up",
        b"user_spoke",
        b"replied",
    ]
    assert [word for word in words if word in kept] == []


@every_store
async def test_without_the_key_a_journal_cannot_be_read_and_says_why(make: Make, tmp_path: Path):
    """A wrong key and none at all are told apart, and name the entry; nothing is changed by trying."""
    right = fernet()
    async with aclosing(make(tmp_path, right)) as store:
        await store.append("s", [Retried("a"), UserSpoke(Message("user", (PICTURE,)))], after=0)
    before = all_bytes(tmp_path)
    for cipher, sentence in (
        (fernet(), "entry 1: it cannot be decrypted with this key: InvalidToken"),
        (None, "entry 1: it is encrypted, or no fact at all; open the store with the cipher it had"),
    ):
        async with aclosing(make(tmp_path, cipher)) as store:
            with pytest.raises(DamagedJournal) as raised:
                await store.read("s")
            assert sentence in str(raised.value)
            assert [(each.session_id, each.seq) for each in await store.sessions()] == [("s", 2)]
            with pytest.raises(DamagedJournal):
                await store.list_checkpoints()
    async with aclosing(make(tmp_path, right)) as store:
        assert len(await store.read("s")) == 2
    assert all_bytes(tmp_path) == before


@every_store
async def test_the_wrong_key_removes_nothing(make: Make, tmp_path: Path):
    """A cut and a deletion that would have to know which pictures are whose are refused where that cannot be read."""
    right = fernet()
    said: list[Fact] = [UserSpoke(Message("user", (PICTURE,))), *[Retried(str(number)) for number in range(3)]]
    async with aclosing(make(tmp_path, right)) as store:
        await store.append("s", said, after=0)
        await store.append("s", [said[0]], after=4)
        await store.fork("s", "b", upto=3)
    async with aclosing(make(tmp_path, fernet())) as store:
        with pytest.raises(DamagedJournal, match="cannot be decrypted"):
            await store.cut("s", Compacted(2, "t", "f"))
        with pytest.raises(DamagedJournal, match="cannot be decrypted"):
            await store.delete("s")
    async with aclosing(make(tmp_path, right)) as store:
        assert [each.fact for each in await store.read("s")] == [*said, said[0]]
        assert [each.fact for each in await store.read("b", upto=3)] == said[:3]
        await store.cut("s", Compacted(2, "t", "f"))
        assert [each.fact for each in await store.read("s", after=2)] == [*said[2:], said[0]]


@every_store
async def test_keys_are_changed_by_a_store_that_has_both(make: Make, tmp_path: Path):
    """`MultiFernet([new, old])` reads what either wrote and writes with the new one; the old one alone reads none of that."""
    old, new = fernet(), fernet()
    said: list[Fact] = [UserSpoke(Message("user", (PICTURE,))), Retried("a")]
    async with aclosing(make(tmp_path, old)) as store:
        await store.append("s", said, after=0)
    async with aclosing(make(tmp_path, MultiFernet([new, old]))) as store:
        await store.append("s", said, after=2)
        assert [each.fact for each in await store.read("s")] == [*said, *said]
    async with aclosing(make(tmp_path, new)) as store:
        assert [each.fact for each in await store.read("s", after=2)] == said
        with pytest.raises(DamagedJournal, match="entry 1"):
            await store.read("s")
    async with aclosing(make(tmp_path, old)) as store:
        with pytest.raises(DamagedJournal, match="entry 3"):
            await store.read("s")


@every_store
async def test_a_plain_journal_goes_on_encrypted(make: Make, tmp_path: Path):
    """A store that gets a cipher reads what was written without, and writes the rest with it."""
    async with aclosing(make(tmp_path, None)) as store:
        await store.append("s", [UserSpoke(user("legible")), UserSpoke(Message("user", (PICTURE,)))], after=0)
    async with aclosing(make(tmp_path, key := fernet())) as store:
        await store.append("s", [UserSpoke(user("hidden"))], after=2)
    async with aclosing(make(tmp_path, key)) as store:
        entries = await store.read("s", after=2)
        assert [each.fact for each in entries] == [UserSpoke(user("hidden"))]
        assert [each.fact for each in await store.read("s", upto=1)] == [UserSpoke(user("legible"))]
    kept = all_bytes(tmp_path)
    assert b"legible" in kept
    assert b"hidden" not in kept


class Bad:
    """A cipher whose tokens are no line, or that fails."""

    def __init__(self, token: bytes | Exception) -> None:
        self.token = token

    def encrypt(self, data: bytes, /) -> bytes:
        if isinstance(self.token, Exception):
            raise self.token
        return self.token

    def decrypt(self, token: bytes, /) -> bytes:
        raise AssertionError("nothing was written")


@every_store
@pytest.mark.parametrize("token", [b"", b"a\nb", "ä".encode(), b"{}", OSError("no key"), KeyError("x")], ids=repr)
async def test_a_cipher_that_cannot_encrypt_is_a_store_error(make: Make, tmp_path: Path, token: bytes | Exception):
    """What it makes has to be a line that is told from JSON; else nothing is written."""
    async with aclosing(make(tmp_path, Bad(token))) as store:
        with pytest.raises(StoreError, match="the cipher could not encrypt"):
            await store.append("s", [Retried("a")], after=0)
        assert await store.sessions() == []


async def test_a_token_may_be_any_line_of_ascii(tmp_path: Path):
    """In a file a token is a JSON string, whatever is in it."""

    class Backwards:
        def encrypt(self, data: bytes, /) -> bytes:
            return b'"\\' + data.hex()[::-1].encode()

        def decrypt(self, token: bytes, /) -> bytes:
            return bytes.fromhex(token[2:].decode()[::-1])

    for make in STORES.values():
        async with aclosing(make(tmp_path, Backwards())) as store:
            await store.append("s", [Retried("a")], after=0)
            assert [each.fact for each in await store.read("s")] == [Retried("a")]
