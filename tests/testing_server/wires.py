"""How each dialect is spoken to by hand."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest

from relayline.testing.server.local import LocalServer

HI: dict[str, Any] = {"role": "user", "content": "hi"}
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
GEMINI = "/v1beta/models/m:"


@dataclass(frozen=True)
class Wire:
    """How one dialect is spoken to. ``path``: whole, and as a stream."""

    path: tuple[str, str]
    key: str
    body: Mapping[str, Any]
    wrong: Mapping[str, Any]


WIRES = {
    "openai-chat": Wire(
        ("/v1/chat/completions",) * 2,
        "authorization",
        {"model": "m", "messages": [HI]},
        {"model": "m", "messages": [HI, {"role": "tool", "tool_call_id": "x", "content": "7"}]},
    ),
    "openai-responses": Wire(
        ("/v1/responses",) * 2,
        "authorization",
        {"model": "m", "input": [HI], "store": False},
        {"model": "m", "input": [{"type": "function_call_output", "call_id": "x", "output": "7"}]},
    ),
    "anthropic": Wire(
        ("/v1/messages",) * 2,
        "x-api-key",
        {"model": "m", "max_tokens": 9, "messages": [HI]},
        {"model": "m", "max_tokens": 9, "messages": [{"role": "assistant", "content": "hi"}]},
    ),
    "gemini": Wire(
        (f"{GEMINI}generateContent", f"{GEMINI}streamGenerateContent?alt=sse"),
        "x-goog-api-key",
        CONTENTS,
        {"contents": [{"role": "model", "parts": [{"text": "hi"}]}]},
    ),
}
every_wire = pytest.mark.parametrize("name", WIRES)
both_ways = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@dataclass(frozen=True)
class Got:
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)

    @property
    def events(self) -> list[Any]:
        """The data of the server-sent events, without the mark that ends Chat Completions."""
        found = [line.removeprefix("data: ") for line in self.text.split("\n") if line.startswith("data: ")]
        return [json.loads(each) for each in found if each != "[DONE]"]


def send(
    server: LocalServer, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> Got:
    connection = HTTPConnection(urlsplit(server.base_url).netloc, timeout=20)
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        text = response.read().decode()
        return Got(response.status, {key.lower(): value for key, value in response.getheaders()}, text)
    finally:
        connection.close()


def ask(
    server: LocalServer,
    name: str,
    *,
    stream: bool = False,
    key: str = "test-key",
    body: Mapping[str, Any] | None = None,
) -> Got:
    wire = WIRES[name]
    whole = dict(wire.body if body is None else body)
    if stream and name != "gemini":
        whole["stream"] = True
    secret = f"Bearer {key}" if wire.key == "authorization" else key
    headers = {wire.key: secret, "anthropic-version": "2023-06-01", "content-type": "application/json"}
    return send(server, "POST", wire.path[stream], json.dumps(whole).encode(), headers)


def ask_chat(server: LocalServer, *, stream: bool = False, key: str = "test-key", **more: Any) -> Got:
    return ask(server, "openai-chat", stream=stream, key=key, body={**WIRES["openai-chat"].body, **more})
