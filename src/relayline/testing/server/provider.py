"""A provider that says what a test tells it to, over HTTP, and refuses what the real one refuses."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from relayline.testing.providers.rules import Body
from relayline.testing.server.anthropic import ANTHROPIC
from relayline.testing.server.dialect import Dialect, to_json
from relayline.testing.server.gemini import GEMINI
from relayline.testing.server.local import Exchange, LocalServer
from relayline.testing.server.openai_chat import OPENAI_CHAT, openai_models
from relayline.testing.server.openai_responses import OPENAI_RESPONSES
from relayline.testing.server.replies import Answer, Cut, Fail, Hang, WireReply, answer_to

PATHS = {"/chat/completions": OPENAI_CHAT, "/responses": OPENAI_RESPONSES, "/messages": ANTHROPIC}
VERSION = re.compile(r"^/v1(beta|alpha)?(?=/)")
GENERATE = re.compile(r"/models/([^/:]+):(generateContent|streamGenerateContent)")
MODELS = ("fake-model",)


@dataclass(frozen=True, slots=True)
class WireRequest:
    """What was posted. ``dialect``: as in `PROVIDERS`. ``headers``: their names in lower case, without the key."""

    dialect: str
    path: str
    headers: Mapping[str, str]
    body: Body


@dataclass(frozen=True, slots=True)
class _Route:
    dialect: Dialect
    model: str = ""  # where it is in the address and not in the body
    stream: bool = False


class FakeProvider(LocalServer):
    """Gives ``replies`` in order, as `ScriptedClient` does, to whoever asks over HTTP on this machine.

    It speaks Chat Completions, Responses, Anthropic Messages and Gemini, all at `base_url`, each whole and as a stream,
    for any model. A body that the real service would refuse is refused with its 400, and so is a request after the
    last reply; neither uses up a reply. ``key``: the one key it takes; for any other it is a 401.

    ``requests`` keeps every request with the right key, oldest first. ``problems``: what was wrong with them, so end a
    test with `assert_done`. SDKs try again by themselves after a 429, a 5xx or a dead connection, and each try uses up
    a reply.
    """

    def __init__(self, *replies: WireReply, key: str = "test-key") -> None:
        super().__init__()
        self.key = key
        self.requests: list[WireRequest] = []
        self.problems: list[AssertionError] = []
        self._replies = list(replies)
        self._lock = Lock()

    def add(self, *replies: WireReply) -> None:
        """Give it more to say, after what it has."""
        with self._lock:
            self._replies += replies

    def assert_done(self) -> None:
        """Fail if a request was wrong, or a reply is left.

        Raises:
            AssertionError: with the first problem, or with what is left.
        """
        if self.problems:
            raise self.problems[0]
        left = self._replies
        assert not left, f"scripted replies were not used: {len(left)}, next {left[0]!r:.60}"

    @property
    def env(self) -> dict[str, str]:
        """The environment in which the SDKs find this provider and its key."""
        return {
            "OPENAI_BASE_URL": f"{self.base_url}/v1",
            "OPENAI_API_KEY": self.key,
            "ANTHROPIC_BASE_URL": self.base_url,
            "ANTHROPIC_API_KEY": self.key,
            "GOOGLE_GEMINI_BASE_URL": self.base_url,
            "GEMINI_API_KEY": self.key,
        }

    def _answer(self, exchange: Exchange) -> None:
        url = urlsplit(exchange.target)
        path = VERSION.sub("", url.path)
        route = _route(exchange, path)
        if route is None and (exchange.method, path) != ("GET", "/models"):
            self._problem(f"nothing is at {exchange.method} {url.path} of a fake provider")
            _fail(exchange, OPENAI_CHAT, Fail(404, f"Invalid URL ({exchange.method} {url.path})", code="unknown_url"))
        elif not self._is_allowed(exchange, route.dialect if route else OPENAI_CHAT):
            _fail(exchange, route.dialect if route else OPENAI_CHAT, Fail(401, "Incorrect API key provided."))
        elif route is None:
            exchange.reply(200, to_json(openai_models(MODELS)), {})
        else:
            self._converse(exchange, route, url.path)

    def _is_allowed(self, exchange: Exchange, dialect: Dialect) -> bool:
        given = [exchange.headers.get(name, "").removeprefix("Bearer ") for name in dialect.key_headers]
        if dialect is GEMINI:
            given += parse_qs(urlsplit(exchange.target).query).get("key", [])
        return self.key in given

    def _converse(self, exchange: Exchange, route: _Route, path: str) -> None:
        try:
            answer = self._judge(exchange, route, path)
        except AssertionError as problem:
            self.problems.append(problem)
            _fail(exchange, route.dialect, Fail(400, str(problem)))
            return
        stream = route.stream or answer.body.get("stream") is True
        if self._open(exchange, route.dialect, answer, stream):
            if stream:
                self._stream(exchange, route.dialect, answer)
            else:
                exchange.reply(200, to_json(route.dialect.whole(answer)), _headers(answer))

    def _judge(self, exchange: Exchange, route: _Route, path: str) -> Answer:
        """Keep the request, and find the answer to it."""
        dialect = route.dialect
        body = _parsed(exchange.body)
        with self._lock:
            self.requests.append(WireRequest(dialect.name, path, exchange.public_headers, body))
            number = len(self.requests)
        try:
            for name in dialect.required:
                assert body.get(name), f"{name}: field required"
            version = dialect is not ANTHROPIC or "anthropic-version" in exchange.headers
            assert version, "anthropic-version: header is required"
            sse = not route.stream or "alt=sse" in exchange.target
            assert sse, "a fake Gemini streams server-sent events only: add ?alt=sse"
            dialect.check(body)
            with self._lock:
                assert self._replies, f"request {number} ({path}) finds the script at its end"
                reply = self._replies.pop(0)
            model = route.model or str(body["model"])
            return answer_to(body, reply, number=number, model=model, call_id=dialect.call_id)
        except AssertionError:
            raise
        except Exception as error:
            # A judge that stumbles over a body, or a test's own function: either way the test has to hear of it.
            raise AssertionError(f"request {number} ({path}) cannot be answered: {error!r}") from error

    def _open(self, exchange: Exchange, dialect: Dialect, answer: Answer, stream: bool) -> bool:
        """Whatever goes wrong before the first word, or at all if there is only one piece; whether there is more."""
        for stop in answer.opening if stream else answer.stops:
            match stop:
                case Hang(seconds):
                    if self._closed.wait(seconds):
                        return False
                case Cut():
                    if answer.blocks and not stream:
                        body = to_json(dialect.whole(answer))
                        exchange.reply(200, body, _headers(answer), upto=len(body) // 2)
                    return False
                case Fail():
                    _fail(exchange, dialect, stop, _headers(answer))
                    return False
        return True

    def _stream(self, exchange: Exchange, dialect: Dialect, answer: Answer) -> None:
        exchange.begin(_headers(answer))
        for count, event in enumerate(dialect.stream(answer)):
            match event:
                case bytes():
                    exchange.write(event)
                case Hang(seconds):
                    if self._closed.wait(seconds):
                        return
                case Cut():
                    return
                case Fail():
                    exchange.write(dialect.failure(event, answer, count))
                    break
        exchange.end()

    def _problem(self, text: str) -> None:
        self.problems.append(AssertionError(text))


def _route(exchange: Exchange, path: str) -> _Route | None:
    if exchange.method != "POST":
        return None
    if path in PATHS:
        return _Route(PATHS[path])
    if found := GENERATE.fullmatch(path):
        return _Route(GEMINI, found[1], found[2] == "streamGenerateContent")
    return None


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        body: object = json.loads(data)
    except ValueError as error:
        raise AssertionError(f"the body is not JSON: {error}") from error
    assert isinstance(body, dict), "the body is not a JSON object"
    return cast("dict[str, Any]", body)


def _headers(answer: Answer) -> dict[str, str]:
    return {"x-request-id": f"req_{answer.number}", "request-id": f"req_{answer.number}"}


def _fail(exchange: Exchange, dialect: Dialect, fail: Fail, headers: Mapping[str, str] | None = None) -> None:
    wait = fail.retry_after if dialect.retry_header else None
    retry = {} if wait is None else {"retry-after": f"{wait:g}"}
    exchange.reply(fail.status, to_json(dialect.error(fail)), {**(headers or {}), **retry})
