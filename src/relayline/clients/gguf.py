"""A generative model from a GGUF file, run in this process by llama.cpp (the extra ``local-llm``).

Small models seldom keep to a tool protocol, and many a chat template drops the tools without a word. Here the tools are
told in the system prompt, a grammar sees to it that what begins like a call ends as one, of a tool that exists and with
arguments of its schema, and we turn that call into a `ToolCall` ourselves. It works with any chat template.
"""

import asyncio
import importlib
import json
import re
import secrets
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from relayline.agent import ChatClient, ChatRequest, Chunk, ReplyInfo, ToolSpec
from relayline.errors import MissingExtra, ModelError, UsageError
from relayline.messages import JSON, Message, ToolCall

try:
    # By name: it is compiled and brings no types, and there is one such line instead of an ignore at every use.
    _llama: Any = importlib.import_module("xllamacpp")
except ImportError as missing:
    raise MissingExtra("GGUF files are run by xllamacpp: pip install 'relayline[local-llm]'") from missing

ToolChoice: TypeAlias = Literal["auto", "required"]

# Each agent has its own prompt. While they are remembered, a handoff back costs 20 ms instead of seconds; 8 GiB, the
# default, would be too much of a good thing.
_CACHED_PROMPTS_MIB: Final = 512

_TOOLS_PROMPT: Final = """\
You have tools. To use one, write only this JSON and nothing else:
{"tool": "NAME", "arguments": {...}}
If no tool fits, answer in plain words. The tools:"""

_CALL_BEGINS: Final = '{"tool":'
_CALL: Final = re.compile(r'\{"tool":\s?"(.+?)",\s?"arguments":(.*)\}', re.DOTALL)


class GgufClient(ChatClient):
    """A chat model from a file on this disk.

    The file is loaded for the first reply, which holds up the process (0.3 s for 100 MB), and stays as long as the
    client lives. One client can be the voice of any number of agents; it answers them one after the other.

    ``context_tokens``: prompt and reply together. ``max_tokens``: of one reply. ``threads``: one is right wherever
    cores are shared, as two that wait for each other are slower than one. ``tool_choice``: with ``"required"`` every
    reply to a user's message is a call, if there are tools; what follows a tool's result is free.

    Raises:
        UsageError: there is no such file, or it is not GGUF.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        context_tokens: int = 4096,
        max_tokens: int = 512,
        temperature: float = 0.0,
        threads: int = 1,
        tool_choice: ToolChoice = "auto",
    ) -> None:
        self._path = _checked(Path(path))
        self._context_tokens = context_tokens
        self._max_tokens = max_tokens
        self._temperature = temperature
        self._threads = threads
        self._tool_choice: ToolChoice = tool_choice
        self._server: Any = None
        self._loading = threading.Lock()

    @property
    def about(self) -> str:
        """What speaks, in a line for people."""
        size = self._path.stat().st_size / 1e6
        return f"{self._path.name} ({size:,.0f} MB, local, by way of llama.cpp); what it writes may be wrong"

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        """Words as they come, then at most one tool call, then the tokens used.

        Raises:
            ModelError: the file could not be loaded, the prompt does not fit, or a call was longer than ``max_tokens``.
        """
        usage: dict[str, int] = {}
        splitter = _Splitter(request.own_tools)
        async with aclosing(_in_thread(lambda hear: self._complete(request, hear), request.agent.name)) as chunks:
            async for chunk in chunks:
                if error := chunk.get("error"):
                    raise ModelError(f"{self._path.name}: {error.get('message', error)}", request.agent.name)
                usage = chunk.get("usage") or usage
                for choice in chunk["choices"]:
                    if words := splitter.feed(choice["delta"].get("content") or ""):
                        yield words
        if splitter.call:
            yield _parse_call(splitter.call, request.agent.name)
        elif splitter.held:
            yield splitter.held
        yield ReplyInfo(self._path.name, usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0))

    def _complete(self, request: ChatRequest, hear: Callable[[dict[str, Any]], bool]) -> None:
        body: dict[str, JSON] = {
            "messages": _chat(request),
            "max_tokens": self._max_tokens,
            "temperature": self._temperature,
            "stream": True,
            "stream_options": {"include_usage": True},
            "chat_template_kwargs": {"enable_thinking": False},
        }
        if tools := request.own_tools:
            forced = self._tool_choice == "required" and request.messages[-1].role == "user"
            body["grammar"] = _grammar(tools, words_too=not forced)
        self._load().handle_chat_completions(body, hear)

    def _load(self) -> Any:
        with self._loading:
            if self._server is None:
                parameters = _llama.CommonParams()
                parameters.model.path = str(self._path)
                parameters.n_ctx = self._context_tokens
                parameters.n_parallel = 1
                parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = self._threads
                parameters.cache_ram_mib = _CACHED_PROMPTS_MIB
                parameters.warmup = False
                parameters.verbosity = 0
                parameters.use_jinja = True
                parameters.force_pure_content_parser = True  # what the words mean is our business
                # llama.cpp's engine comes with its HTTP server, like it or not. It gets a free port of the loopback
                # interface and a key that nobody knows, so that no web page in the user's browser can talk to it.
                parameters.port = 0
                parameters.api_keys = [secrets.token_hex(16)]
                parameters.ui = False
                self._server = _llama.Server(parameters)
            return self._server


def _checked(path: Path) -> Path:
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise UsageError(f"the model {path} cannot be read: {error.strerror or error}") from error
    if magic != b"GGUF":
        raise UsageError(f"{path} is not a GGUF file (it begins with {magic!r}); llama.cpp's format is needed")
    return path.absolute()


async def _in_thread(
    work: Callable[[Callable[[dict[str, Any]], bool]], None], agent: str
) -> AsyncGenerator[dict[str, Any]]:
    """What ``work`` hears in a thread, here. Once nobody listens any more, its next ``hear`` says true: stop."""
    loop = asyncio.get_running_loop()
    heard: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
    stopped = threading.Event()

    def hear(chunk: dict[str, Any]) -> bool:
        if not stopped.is_set():
            loop.call_soon_threadsafe(heard.put_nowait, chunk)
        return stopped.is_set()

    def finish(ended: "asyncio.Future[None]") -> None:
        # Looked at here too, or asyncio complains of an error that came after the listener had gone.
        if not ended.cancelled():
            ended.exception()
        heard.put_nowait(None)

    working = asyncio.ensure_future(asyncio.to_thread(work, hear))
    working.add_done_callback(finish)
    try:
        while (chunk := await heard.get()) is not None:
            yield chunk
    finally:
        stopped.set()
    if error := working.exception():
        raise ModelError(f"llama.cpp: {error}", agent) from error


def _chat(request: ChatRequest) -> list[JSON]:
    """The conversation in system, user and assistant turns that alternate, which every chat template knows."""
    system = "\n\n".join(part for part in (request.instructions, _describe(request.tools)) if part)
    turns: list[tuple[str, str]] = [("system", system)] if system else []
    for message in request.messages:
        role, text = _turn(message)
        if turns and turns[-1][0] == role:
            text = f"{turns.pop()[1]}\n\n{text}"
        turns.append((role, text))
    # A lone surrogate has no UTF-8, which llama.cpp wants.
    return [{"role": role, "content": text.encode("utf-8", "replace").decode("utf-8")} for role, text in turns]


def _turn(message: Message) -> tuple[str, str]:
    if message.role == "assistant":
        calls = (
            f'{{"tool": {json.dumps(call.name)}, "arguments": {call.arguments or "{}"}}}' for call in message.tool_calls
        )
        return "assistant", "\n".join(part for part in (message.text, *calls) if part)
    results = (f"{result.name} returned: {result.content}" for result in message.tool_results)
    return "user", "\n".join(part for part in (message.in_words, *results) if part)


def _describe(tools: Sequence[ToolSpec]) -> str:
    lines = (f"- {tool.name}: {tool.description} Arguments: {json.dumps(dict(tool.parameters))}" for tool in tools)
    return "\n".join([_TOOLS_PROMPT, *lines]) if tools else ""


def _grammar(tools: Sequence[ToolSpec], *, words_too: bool) -> str:
    """A call of one of these tools or, with ``words_too``, any words, or words and then a call.

    In the notation of LLGuidance, which xllamacpp is built with.
    """
    begins = json.dumps(_CALL_BEGINS)
    rules = [
        "%llguidance {}",
        f"start: {'call | words | before which' if words_too else 'call'}",
        r"words: /[^{\s](.|\n)*/",
        rf"before[suffix={begins}]: /[^{{\s](.|\n)*/",  # as short as can be, so it wins over words once a call begins
        f"call: {begins} which",
        f"which: {' | '.join(f'tool_{index}' for index in range(len(tools)))}",
    ]
    for index, tool in enumerate(tools):
        schema: dict[str, JSON] = {"type": "object", "properties": {}, "additionalProperties": False, **tool.parameters}
        # White space is nothing to play with: a small model can write line breaks until its tokens are used up.
        schema["x-guidance"] = {"whitespace_flexible": False}
        rules += [
            rf'tool_{index}: /\s?"{re.escape(tool.name)}",\s?"arguments":\s?/ arguments_{index} "}}"',
            f"arguments_{index}: %json {json.dumps(schema)}",
        ]
    return "\n".join(rules)


class _Splitter:
    """Tells words from a call in a text that comes in pieces; without tools everything is words."""

    def __init__(self, tools: Sequence[ToolSpec]) -> None:
        self.call = ""
        self.held = ""  # may be the beginning of a call, or the white space before one
        self._tools = tools

    def feed(self, piece: str) -> str:
        """The words that can be shown by now."""
        if not self._tools:
            return piece
        if self.call:
            self.call += piece
            return ""
        before, begins, after = (self.held + piece).partition(_CALL_BEGINS)
        self.call = begins + after
        shown = before.rstrip() if begins else before[: _certain(before)]
        self.held = "" if begins else before[len(shown) :]
        return shown


def _certain(text: str) -> int:
    """How much of the text is words whatever comes next."""
    length = next((n for n in range(len(_CALL_BEGINS) - 1, 0, -1) if text.endswith(_CALL_BEGINS[:n])), 0)
    return len(text[: len(text) - length].rstrip())


def _parse_call(text: str, agent: str) -> ToolCall:
    found = _CALL.fullmatch(text.strip())
    if found is None or not _is_json(found[2]):
        raise ModelError(f"the tool call was cut off after {len(text)} characters; raise max_tokens", agent)
    # Not parsed and written anew: a call is kept as the model wrote it.
    return ToolCall("call_1", found[1], found[2].strip())


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True
