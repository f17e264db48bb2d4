"""An HTTP server on a free port of this machine, in threads of its own, that leaves nothing behind."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR, socket
from sys import exc_info
from threading import Event, Thread
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

SECRET = ("authorization", "x-api-key", "x-goog-api-key", "api-key", "cookie")  # headers
POLL = 0.02  # seconds; closing takes no longer


class Exchange:
    """One request, and the answer to it. An answer that is not brought to its end is a connection that dies."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self.method = handler.command
        self.target = handler.path
        self.headers = {name.lower(): value for name, value in handler.headers.items()}
        self.body = handler.rfile.read(int(self.headers.get("content-length", 0)))
        self._handler = handler

    @property
    def public_headers(self) -> dict[str, str]:
        return {name: value for name, value in self.headers.items() if name not in SECRET}

    @property
    def secrets(self) -> list[str]:
        """The keys it came with, in headers or the address."""
        found = [self.headers.get(name, "").removeprefix("Bearer ") for name in SECRET]
        return [key for key in (*found, *parse_qs(urlsplit(self.target).query).get("key", ())) if key]

    def reply(self, status: int, body: bytes, headers: Mapping[str, str], *, upto: int | None = None) -> None:
        """Answer in one piece, of which no more is sent than ``upto`` bytes."""
        self._begin(status, {**headers, "content-length": str(len(body))})
        self._handler.wfile.write(body[:upto])

    def begin(self, headers: Mapping[str, str]) -> None:
        """Begin a stream; `write` goes on with it and `end` ends it."""
        self._begin(200, {**headers, "content-type": "text/event-stream", "transfer-encoding": "chunked"})

    def write(self, data: bytes) -> None:
        """Send a piece at once."""
        self._handler.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        """Say that this was all."""
        self._handler.wfile.write(b"0\r\n\r\n")

    def _begin(self, status: int, headers: Mapping[str, str]) -> None:
        self._handler.send_response(status)
        for name, value in {"content-type": "application/json", **headers, "connection": "close"}.items():
            self._handler.send_header(name, value)
        self._handler.end_headers()


class LocalServer:
    """What `FakeProvider` and `Cassette` have in common: opened and closed by hand, ``with`` or ``async with``."""

    def __init__(self) -> None:
        self._server: _Server | None = None
        self._closed = Event()

    @property
    def base_url(self) -> str:
        """Where it listens, without a path; the one address for every SDK.

        Raises:
            RuntimeError: if it is not open.
        """
        if self._server is None:
            raise RuntimeError(f"this {type(self).__name__} is not open; use it in a with block, or call open()")
        return f"http://127.0.0.1:{self._server.server_port}"

    def open(self) -> Self:
        """Begin to listen."""
        if self._server is None:
            self._closed.clear()
            self._server = _Server(self._answer)
        return self

    def close(self) -> None:
        """End every connection, and all that waits. Closing twice is harmless."""
        server, self._server = self._server, None
        if server is not None:
            self._closed.set()
            server.stop()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *error: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(self, *error: object) -> None:
        self.__exit__(*error)

    def _answer(self, exchange: Exchange) -> None:
        raise NotImplementedError


class _Server(ThreadingHTTPServer):
    """Knows its connections, because those that hang have to be ended from outside."""

    daemon_threads = True  # a program that forgets to close may end all the same

    def __init__(self, answer: Callable[[Exchange], None]) -> None:
        super().__init__(("127.0.0.1", 0), _handler(answer))
        self._connections: list[tuple[Thread, socket]] = []
        self._thread = Thread(target=self.serve_forever, args=(POLL,), name="relayline-server", daemon=True)
        self._thread.start()

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        thread.start()
        self._connections = [each for each in self._connections if each[0].is_alive()]
        self._connections.append((thread, request))

    def stop(self) -> None:
        """Listen no more, and wait for every thread."""
        self.shutdown()
        self._thread.join()
        self.server_close()
        for thread, connection in self._connections:
            with suppress(OSError):  # most have ended by themselves
                connection.shutdown(SHUT_RDWR)
            thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(exc_info()[1], ConnectionError):  # a client may hang up whenever it likes
            super().handle_error(request, client_address)


def _handler(answer: Callable[[Exchange], None]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            self.close_connection = True
            answer(Exchange(self))

        do_POST = do_GET  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing: a test's output is the test's."""

    return Handler
