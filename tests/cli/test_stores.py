"""Every command on every kind of store."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import TEAM
from tests.cli.kept import call, hold, journal, parsed


@pytest.fixture(params=["sqlite", "folder", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A word for a store that is empty."""
    match request.param:
        case "sqlite":
            return str(tmp_path / "sessions.db")
        case "folder":
            return f"{tmp_path / 'sessions'}/"
        case _:
            dsn: str = request.getfixturevalue("dsn")
            return dsn


def test_a_life(place: str, tmp_path: Path):
    """Begun, listed, asked, approved, branched, compared, held, taken elsewhere, compacted, deleted."""
    at = ("--store", place)
    assert call("sessions", *at).output.startswith("No session is kept in ")
    begun = call("chat", TEAM, "--session", "s", *at, lines="hello\norder\nmoney\n")
    assert begun.exit_code == 0, begun.output
    assert [each["request_id"] for each in parsed("requests", *at)] == ["s/r3"]
    assert "5.00 EUR paid back" in call("approve", "s/r3", TEAM, *at).output
    assert call("sessions", "fork", "s", "--at", "6", "--as", "b", *at).output == "b\n"
    call("chat", TEAM, "--session", "b", *at, lines="something else\n")
    assert parsed("checkpoints", "diff", "s", "b", *at)["common"] == 6
    assert [each["parent"] for each in parsed("sessions", *at)] == ["s", ""]
    call("sessions", "hold", "s", "--reason", "case 1", *at)
    assert call("sessions", "delete", "s", "--yes", *at).exit_code == 2
    call("sessions", "release", "s", *at)
    file, other = tmp_path / "b.jsonl", tmp_path / "other.db"
    assert call("sessions", "export", "b", file, *at).exit_code == 0
    call("sessions", "import", file, "--store", other)
    assert journal(other, "b") == journal(place, "b")
    assert parsed("sessions", "compact", "b", "--keep", "1", *at)["upto"] > 1
    assert call("sessions", "delete", "s", "b", "--yes", *at).output == "deleted s, b\n"
    assert parsed("sessions", *at) == []


def test_a_sound_store(place: str):
    """The doctor finds nothing wrong with it, and says what it is."""
    hold(place, "s", "hello")
    examined = call("doctor", "--json", "--store", place)
    assert examined.exit_code == 0, examined.output
    stores = [each["what"] for each in json.loads(examined.stdout) if each["check"] == "store"]
    assert stores[0].startswith(f"store {place.rstrip('/')}")
    assert "sound, 1 session" in stores[0]


def test_a_torn_tail(tmp_path: Path):
    """What a dying process left at the end of a file is found, and cut off with --fix; a damaged middle is not."""
    place = tmp_path / "sessions"
    for name in ("torn", "bad", "lost"):
        hold(f"{place}/", name, "hello")
    (torn,), (bad,), (lost,) = (place.glob(f"{name}-*.jsonl") for name in ("torn", "bad", "lost"))
    with torn.open("ab") as file:
        file.write(b'{"type":"user_sp')
    bad.write_bytes(bad.read_bytes().replace(b"hello", b"hullo"))
    lost.write_bytes(b"?" + lost.read_bytes())
    before = bad.read_bytes(), lost.read_bytes()

    def found(*options: str) -> list[tuple[str, str, str]]:
        every = json.loads(call("doctor", "--json", *options, "--store", place).stdout)
        return [
            (each["state"], each["check"], each["session_id"]) for each in every if each["check"] in ("tail", "journal")
        ]

    ill = [("problem", "journal", "bad"), ("problem", "journal", "")]
    assert sorted(found()) == sorted([("note", "tail", "torn"), *ill])
    assert sorted(found("--fix")) == sorted([("ok", "tail", ""), *ill])
    assert sorted(found()) == sorted(ill)
    assert (bad.read_bytes(), lost.read_bytes()) == before
    assert len(journal(place, "torn")) == 6


def test_a_file_with_a_slash(tmp_path: Path):
    """A word that ends with a slash means a folder, and a file is none."""
    path = tmp_path / "file"
    path.write_text("")
    shown = call("doctor", "--store", f"{path}/")
    assert shown.exit_code == 1
    assert "is a file, and a word that ends with / means a folder" in shown.output
    assert call("sessions", "--store", f"{path}/").exit_code == 1


def test_a_server_that_is_not_there():
    """A sentence and status 1, without the password and without a traceback."""
    word = "postgresql://me:s3cret@127.0.0.1:1/db"
    for command in (["sessions"], ["requests"], ["doctor"], ["chat", TEAM], ["sessions", "show", "s"]):
        shown = call(*command, "--store", word, lines="hello\n")
        assert shown.exit_code == 1
        assert isinstance(shown.exception, SystemExit)
        assert "127.0.0.1" in shown.output
        assert "s3cret" not in shown.output


def test_a_password_is_never_printed(dsn: str, monkeypatch: pytest.MonkeyPatch):
    """Not in the line to come back with, which leaves the store to the environment if it has it; not by the doctor."""
    place = dsn.replace("postgres@", "postgres:s3cret@")
    assert place != dsn
    for arguments in (["--store", place], []):
        if not arguments:
            monkeypatch.setenv("RELAYLINE_STORE", place)
        talked = call("chat", TEAM, "--session", "s", *arguments, lines="hello\n")
        assert talked.exit_code == 0, talked.output
        assert ("--store 'postgresql://postgres@" in talked.stderr) is bool(arguments)
        for command in (["doctor"], ["sessions", "show", "nobody"], ["answer", "s/r9", "x", TEAM]):
            assert "s3cret" not in call(*command, *arguments).output
        assert "s3cret" not in talked.output
