"""A cassette: a real provider's answers taken down once, and given again when it is gone."""

import json
from pathlib import Path

import pytest

from relayline.testing import Cassette, Cut, Fail, FakeProvider, call
from tests.testing_server.wires import CONTENTS, GEMINI, ask, ask_chat, every_wire, send

KEY = "sk-very-secret"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tape.jsonl"


@every_wire
def test_what_was_recorded_is_replayed_without_the_provider(path: Path, name: str):
    """The first time everything goes to the upstream, ever after nothing does, and the bytes are the same."""
    script = [["Hel", "lo 日本."], call("look_up", order=7), Fail(429, "slow down", retry_after=1)]
    with FakeProvider(*script, key=KEY) as upstream, Cassette(path, upstream.base_url) as cassette:
        recorded = [ask(cassette, name, stream=stream, key=KEY) for stream in (True, False, False)]
        upstream.assert_done()
        cassette.assert_done()
    assert [got.status for got in recorded] == [200, 200, 429]
    with Cassette(path) as cassette:
        replayed = [ask(cassette, name, stream=stream, key="any") for stream in (True, False, False)]
        cassette.assert_done()
    assert [(got.status, got.text) for got in replayed] == [(got.status, got.text) for got in recorded]
    assert [got.headers["content-type"] for got in replayed] == [got.headers["content-type"] for got in recorded]


def test_no_key_is_on_the_file(path: Path):
    """Neither a header's nor the address's nor one that the answer repeats, and no request either."""
    with (
        FakeProvider(*[f"Your key is {KEY}."] * 2, key=KEY) as upstream,
        Cassette(path, upstream.base_url) as cassette,
    ):
        ask_chat(cassette, key=KEY)
        send(cassette, "POST", f"{GEMINI}generateContent?key={KEY}", json.dumps(CONTENTS).encode())
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert [line["to"] for line in lines] == ["POST /v1/chat/completions", f"POST {GEMINI}generateContent"]
    assert all("Your key is SECRET." in line["body"] for line in lines)
    assert KEY not in path.read_text("utf-8")
    assert '"hi"' not in path.read_text("utf-8")


def test_requests_are_matched_by_body_and_then_by_order(path: Path):
    """Two that are alike get their answers in the order they were given; others may come at any time."""
    other = [{"role": "user", "content": "bye"}]
    with FakeProvider("One.", "Two.", "Bye.", key=KEY) as upstream, Cassette(path, upstream.base_url) as cassette:
        for more in ({}, {}, {"messages": other}):
            ask_chat(cassette, key=KEY, **more)
    with Cassette(path) as cassette:
        replayed = [ask_chat(cassette, **more).json for more in ({"messages": other}, {}, {})]
    assert [each["choices"][0]["message"]["content"] for each in replayed] == ["Bye.", "One.", "Two."]


def test_another_body_is_refused_and_told(path: Path):
    """A request that was not recorded names itself, the file and what is left on it."""
    with FakeProvider("One.", key=KEY) as upstream, Cassette(path, upstream.base_url) as cassette:
        ask_chat(cassette, key=KEY)
    with Cassette(path) as cassette:
        with pytest.raises(AssertionError, match=r"on tape\.jsonl were not used: 1, next to POST /v1/chat/completions"):
            cassette.assert_done()
        got = ask_chat(cassette, temperature=0.5)
        assert (got.status, "delete the file and record anew" in got.json["error"]["message"]) == (400, True)
        expected = r"POST /v1/chat/completions with this body is not on tape\.jsonl, which has left: POST /v1/chat"
        with pytest.raises(AssertionError, match=expected):
            cassette.assert_done()


def test_a_recording_that_failed_is_not_kept(path: Path):
    """An exception in the block leaves no file that the next run would take for the truth."""
    with pytest.raises(ZeroDivisionError):
        with FakeProvider("One.", key=KEY) as upstream, Cassette(path, upstream.base_url) as cassette:
            ask_chat(cassette, key=KEY)
            raise ZeroDivisionError
    assert not path.exists()


def test_without_a_file_there_has_to_be_an_upstream(path: Path):
    """A cassette that is missing in CI is an error, not a call to a real provider."""
    with pytest.raises(FileNotFoundError, match="give an upstream to record one"):
        Cassette(path)


@pytest.mark.parametrize("gone", [True, False])
def test_an_upstream_that_does_not_answer_is_a_problem(path: Path, gone: bool):
    """Nothing is recorded of a connection that failed."""
    upstream = FakeProvider(Cut(), key=KEY).open()
    address = upstream.base_url
    if gone:
        upstream.close()
    with Cassette(path, address) as cassette:
        assert ask_chat(cassette, key=KEY).status == 400
        with pytest.raises(AssertionError, match="gave no answer"):
            cassette.assert_done()
    upstream.close()
    assert not path.exists()
