"""What the fake provider does to a connection, what it keeps, and that it leaves nothing behind."""

import json
import socket
import threading
from http.client import HTTPConnection, IncompleteRead, RemoteDisconnected
from urllib.parse import urlsplit

import pytest

from relayline.messages import ToolCall
from relayline.testing import Cut, FakeProvider, Hang
from tests.testing_server.wires import WIRES, ask, ask_chat, both_ways, every_wire


@every_wire
@both_ways
def test_a_cut_before_anything_is_no_answer_at_all(name: str, stream: bool):
    """The connection dies before the status line."""
    with FakeProvider(Cut()) as provider:
        with pytest.raises(RemoteDisconnected):
            ask(provider, name, stream=stream)


@every_wire
@both_ways
def test_a_cut_after_words_leaves_half_an_answer(name: str, stream: bool):
    """The connection dies in the middle, and nothing says that this was all."""
    with FakeProvider(["Half a", Cut(), " word."]) as provider:
        with pytest.raises(IncompleteRead) as broken:
            ask(provider, name, stream=stream)
    assert not stream or (b"Half a" in broken.value.partial and b"word" not in broken.value.partial)


def test_a_cut_after_a_call_leaves_it_open():
    """What follows a block's last delta is not sent, so a call may be cut within its arguments."""
    with FakeProvider([ToolCall("", "look_up", '{"or'), Cut()]) as provider:
        with pytest.raises(IncompleteRead) as broken:
            ask(provider, "anthropic", stream=True)
    assert b"input_json_delta" in broken.value.partial
    assert b"content_block_stop" not in broken.value.partial


@both_ways
def test_a_hang_ends_by_itself_or_with_the_provider(stream: bool):
    """A pause delays a reply; one without an end keeps a client waiting until the provider is closed."""
    provider = FakeProvider(["One", Hang(0.01), " two."], Hang()).open()
    assert "two." in ask_chat(provider, stream=stream).text
    threading.Timer(0.05, provider.close).start()
    with pytest.raises((RemoteDisconnected, ConnectionResetError)):
        ask_chat(provider, stream=stream)


def test_words_before_a_hang_are_there_at_once():
    """A stream is sent as it comes, so a client that hangs has seen what was said."""
    with FakeProvider(["One", Hang()]) as provider:
        connection = HTTPConnection(urlsplit(provider.base_url).netloc, timeout=20)
        body = json.dumps({**WIRES["openai-chat"].body, "stream": True})
        connection.request("POST", "/chat/completions", body, {"authorization": "Bearer test-key"})
        response = connection.getresponse()
        seen = b""
        while b"One" not in seen:
            seen += response.read1()
        connection.close()


def test_requests_are_kept_without_the_key():
    """Dialect, path, headers and body of every request, oldest first, and no secret."""
    with FakeProvider("One.", "Two.") as provider:
        ask(provider, "openai-chat")
        ask(provider, "anthropic")
    first, second = provider.requests
    assert (first.dialect, first.path, second.dialect) == ("openai-chat", "/v1/chat/completions", "anthropic")
    assert first.body == WIRES["openai-chat"].body
    assert first.headers["content-type"] == "application/json"
    assert "test-key" not in repr(provider.requests)


def test_a_fixture_may_leave_the_replies_to_the_test():
    """`add` puts replies after those there are."""
    with FakeProvider("One.") as provider:
        provider.add("Two.", "Three.")
        assert ["One." in ask_chat(provider).text, "Two." in ask_chat(provider).text] == [True, True]
        with pytest.raises(AssertionError, match="1, next 'Three"):
            provider.assert_done()


async def test_it_opens_in_async_code_too():
    """``async with`` is the same; before it there is no address."""
    provider = FakeProvider("Hello.", key="mine")
    with pytest.raises(RuntimeError, match="FakeProvider is not open"):
        _ = provider.base_url
    async with provider:
        assert provider.env["OPENAI_BASE_URL"] == f"{provider.base_url}/v1"
        assert provider.env["ANTHROPIC_API_KEY"] == "mine"
    with pytest.raises(RuntimeError):
        _ = provider.base_url


def test_it_leaves_nothing_behind():
    """Opened and closed fifty times, with somebody still connected, it leaves no thread and no open port."""
    before = set(threading.enumerate())
    for _ in range(50):
        with FakeProvider("Hello.") as provider:
            address = urlsplit(provider.base_url)
            idle = socket.create_connection((address.hostname, address.port), timeout=20)
            assert ask_chat(provider).status == 200
        assert idle.recv(1) == b""
        idle.close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address.hostname, address.port), timeout=20)
        provider.close()
    assert set(threading.enumerate()) <= before
