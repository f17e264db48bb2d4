"""llama.cpp's own HTTP server, out of the wheel that GGUF files are run with, and a witness between it and a client."""

import importlib
import json
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from relayline.testing import PROVIDERS
from relayline.testing.server.local import Exchange, LocalServer

KEY = "test-key"
TEMPLATE = (Path(__file__).parent / "chatml_with_tools.jinja").read_text("utf-8")


@dataclass(frozen=True, slots=True)
class Witnessed:
    """One request that the server answered. ``deltas``: the pieces of its stream, ``timings``: what llama.cpp says of the
    work; both empty, if it refused.
    """

    body: dict[str, Any]
    status: int
    deltas: list[dict[str, Any]]
    timings: dict[str, Any]


class LlamaServer(LocalServer):
    """A real model behind Chat Completions, ``base_url`` + ``/v1``.

    Requests pass through a witness, who judges each as OpenAI would and keeps it in ``requests``; what was wrong is in
    ``problems``. The next answers are ``refusals``, while there are any: statuses that the witness gives by itself.
    ``cache_mib``: room for prompts beside the last one; 0 for none.
    """

    def __init__(self, model: Path, cache_mib: int = 256) -> None:
        super().__init__()
        self.requests: list[Witnessed] = []
        self.problems: list[AssertionError] = []
        self.refusals: list[int] = []
        self._path = model
        self._cache_mib = cache_mib
        self._llama: Any = None

    def open(self) -> Self:
        if self._llama is None:
            llama: Any = importlib.import_module("xllamacpp")
            parameters = llama.CommonParams()
            parameters.model.path = str(self._path)
            parameters.n_ctx = 4096
            parameters.n_parallel = 1
            parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
            parameters.cache_ram_mib = self._cache_mib
            parameters.warmup = False
            parameters.verbosity = 0
            # The model's own template drops tools without a word.
            parameters.use_jinja = True
            parameters.chat_template = TEMPLATE
            parameters.port = 0
            parameters.api_keys = [KEY]
            parameters.ui = False
            self._llama = llama.Server(parameters)
        return super().open()

    def close(self) -> None:
        super().close()
        self._llama = None

    @property
    def upstream(self) -> str:
        """The server itself, without the witness."""
        return self._llama.listening_address

    def clear(self) -> None:
        """Forget what was seen."""
        self.requests.clear()
        self.problems.clear()
        self.refusals.clear()

    def _answer(self, exchange: Exchange) -> None:
        if self.refusals:
            error = {"error": {"message": "busy", "type": "server_error", "code": None}}
            exchange.reply(self.refusals.pop(0), json.dumps(error).encode(), {"retry-after": "0"})
            return
        body = json.loads(exchange.body)
        try:
            PROVIDERS["openai-chat"].check(body)
        except AssertionError as problem:
            self.problems.append(problem)
        headers = {"authorization": exchange.headers.get("authorization", ""), "content-type": "application/json"}
        with closing(HTTPConnection(urlsplit(self.upstream).netloc, timeout=60)) as upstream:
            upstream.request(exchange.method, exchange.target, exchange.body, headers)
            answer = upstream.getresponse()
            if answer.status != 200:
                self.requests.append(Witnessed(body, answer.status, [], {}))
                exchange.reply(answer.status, answer.read(), {})
                return
            exchange.begin({})
            deltas: list[dict[str, Any]] = []
            timings: dict[str, Any] = {}
            self.requests.append(Witnessed(body, answer.status, deltas, timings))
            for line in answer:  # as they come, so that whoever waits for words gets them at once
                if line.startswith(b"data: {"):
                    event = json.loads(line[6:])
                    deltas += [choice["delta"] for choice in event.get("choices", ())]
                    timings |= event.get("timings", {})
                exchange.write(line)
            exchange.end()
