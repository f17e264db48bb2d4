"""A real provider's answers on file: taken down once, given again without it."""

import json
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from pathlib import Path
from threading import Lock
from urllib.parse import parse_qsl, urlencode, urlsplit

from relayline.testing.server.dialect import to_json
from relayline.testing.server.local import Exchange, LocalServer

KEPT = ("content-type", "retry-after")
OWN = ("host", "connection", "content-length", "accept-encoding")  # of each connection, not of the request
PATIENCE = 120  # seconds of silence


@dataclass(frozen=True, slots=True)
class _Take:
    """One line of the file. ``to``: method and path; ``digest``: of the request's body."""

    to: str
    digest: str
    status: int
    headers: dict[str, str]
    body: str


class Cassette(LocalServer):
    """Replays the file at ``path``; if there is none, passes everything on to ``upstream`` and writes it.

    ``upstream`` is the real address without a path, ``https://api.anthropic.com``; leave it out where nothing may be
    recorded. The file is written when the cassette is closed, unless its block ended with an exception. Keys are in no
    line of it, and nothing of a request but a digest; but the answers are all there, so look before you commit it.

    A request is answered by the first line not used yet that was recorded for the same body. ``problems``: requests
    there was none for; end a test with `assert_done`.
    """

    def __init__(self, path: str | Path, upstream: str = "") -> None:
        super().__init__()
        self.problems: list[AssertionError] = []
        self._path = Path(path)
        self._upstream = upstream.rstrip("/")
        self._recording = not self._path.exists()
        if self._recording and not upstream:
            raise FileNotFoundError(f"there is no cassette at {path}; give an upstream to record one")
        lines = [] if self._recording else self._path.read_text("utf-8").splitlines()
        self._takes = [_Take(**json.loads(line)) for line in lines]
        self._lock = Lock()

    def assert_done(self) -> None:
        """Fail if a request was not on the cassette, or an answer is left.

        Raises:
            AssertionError: with the first problem, or with what is left.
        """
        if self.problems:
            raise self.problems[0]
        left = [] if self._recording else self._takes
        assert not left, f"answers on {self._path.name} were not used: {len(left)}, next to {left[0].to}"

    def close(self) -> None:
        super().close()
        if self._recording and self._takes:
            text = "".join(f"{json.dumps(asdict(take))}\n" for take in self._takes)
            self._path.write_text(text, "utf-8", newline="\n")
            self._takes.clear()

    def __exit__(self, *error: object) -> None:
        if self._recording and any(error):
            self._takes.clear()
        super().__exit__(*error)

    def _answer(self, exchange: Exchange) -> None:
        to, digest = f"{exchange.method} {_public(exchange.target)}", _digest(exchange.body)
        try:
            take = self._record(exchange, to, digest) if self._recording else self._replay(to, digest)
        except AssertionError as problem:
            self.problems.append(problem)
            error = {"type": "not_on_cassette", "message": str(problem), "code": 400, "status": "INVALID_ARGUMENT"}
            exchange.reply(400, to_json({"type": "error", "error": error}), {})
        else:
            exchange.reply(take.status, take.body.encode("utf-8", "surrogateescape"), take.headers)

    def _replay(self, to: str, digest: str) -> _Take:
        with self._lock:
            for number, take in enumerate(self._takes):
                if (take.to, take.digest) == (to, digest):
                    return self._takes.pop(number)
            left = ", ".join(take.to for take in self._takes) or "nothing"
        raise AssertionError(
            f"{to} with this body is not on {self._path.name}, which has left: {left}. "
            "If the request was meant to change, delete the file and record anew"
        )

    def _record(self, exchange: Exchange, to: str, digest: str) -> _Take:
        headers = {name: value for name, value in exchange.headers.items() if name not in OWN}
        url = urlsplit(self._upstream)
        connection = (HTTPSConnection if url.scheme == "https" else HTTPConnection)(url.netloc, timeout=PATIENCE)
        try:
            with closing(connection):
                connection.request(exchange.method, url.path + exchange.target, exchange.body, headers)
                answer = connection.getresponse()
                body = answer.read().decode("utf-8", "surrogateescape")
        except (OSError, HTTPException) as error:
            raise AssertionError(f"{self._upstream} gave no answer to take down: {error!r}") from error
        for secret in exchange.secrets:
            body = body.replace(secret, "SECRET")
        kept = {name: value for name in KEPT if (value := answer.headers.get(name))}
        take = _Take(to, digest, answer.status, kept, body)
        with self._lock:
            self._takes.append(take)
        return take


def _public(target: str) -> str:
    """The path and its query without a key."""
    url = urlsplit(target)
    query = urlencode([(name, value) for name, value in parse_qsl(url.query) if name != "key"])
    return f"{url.path}?{query}" if query else url.path


def _digest(body: bytes) -> str:
    """The same for the same JSON, in whatever order its keys are written."""
    with suppress(ValueError):
        body = json.dumps(json.loads(body), sort_keys=True).encode()
    return sha256(body).hexdigest()
