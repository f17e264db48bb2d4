"""Tools that live on MCP servers (the extra ``mcp``): a program on this machine, or an address.

::

    async with MCPServer("npx -y @modelcontextprotocol/server-filesystem .") as files:
        agent = Agent("clerk", tools=[files], client="openai:gpt-5-mini")
"""

import asyncio
import difflib
import json
import shlex
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from contextvars import Context
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, TypeVar, cast
from urllib.parse import urlsplit

from relayline.context import ToolContext
from relayline.errors import BuildError, MissingExtra, ToolError, UsageError
from relayline.machine.topology import tool_name
from relayline.tools import ApprovalMode, Tool

try:
    import httpx2
    from mcp import Client, MCPError, StdioServerParameters
    from mcp.client.streamable_http import streamable_http_client
    from mcp_types import (
        CONNECTION_CLOSED,
        INVALID_REQUEST,
        REQUEST_TIMEOUT,
        AudioContent,
        CallToolResult,
        ContentBlock,
        EmbeddedResource,
        ImageContent,
        ResourceLink,
        TextContent,
        TextResourceContents,
    )
    from mcp_types import Tool as Described
except ImportError as missing:
    raise MissingExtra("MCP servers need the mcp package: pip install 'relayline[mcp]'") from missing

LOST: Final = (CONNECTION_CLOSED, INVALID_REQUEST)
"""The codes by which the SDK says that the connection, or the session on it, is no more."""

T = TypeVar("T")
_Open: TypeAlias = Callable[[AsyncExitStack], Awaitable[Client]]


class MCPServer:
    """An MCP server, and its tools once it is connected: ``Agent(tools=[server])``.

    ``server``: a command line, as a string or as a list of words, that is started and spoken to over its stdin and
    stdout; or the ``http://`` or ``https://`` address of one that runs. ``env`` and ``cwd`` are for a command, which
    inherits nothing of the environment but ``PATH``, ``HOME`` and the like; ``headers`` are for an address.

    ``prefix`` is put before the name of each tool, for agents with tools of several servers. ``approval_mode``: for
    all, or for those that a mapping names as the server does. ``repeatable``, in the same way: whether a call may be
    run again; without it a tool is repeatable that the server calls read-only or idempotent. ``reconcile``: for tools
    by name, the function that finds out what became of a call (see `relayline.tool`), given the key and ``arguments``.
    ``timeout``: how many seconds a connection, or a call, may take; None for any number.

    Agents that hold the same object share its connection. There is one for each event loop, in a task of its own; it
    is made anew when it was lost, and it ends with ``aclose()``, with ``async with``, or with its loop.
    """

    def __init__(
        self,
        server: str | Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        headers: Mapping[str, str] | None = None,
        prefix: str = "",
        approval_mode: ApprovalMode | Mapping[str, ApprovalMode] = "never_require",
        repeatable: bool | Mapping[str, bool] | None = None,
        reconcile: Mapping[str, Callable[..., Any]] | None = None,
        timeout: float | None = 60.0,
    ) -> None:
        self._url = server if isinstance(server, str) and server.startswith(("http://", "https://")) else ""
        words = [] if self._url else shlex.split(server) if isinstance(server, str) else list(server)
        if not self._url and not words:
            raise UsageError("an MCP server is a command line or an http address; got nothing")
        if headers and not self._url:
            raise UsageError("headers are for a server with an address; give a command its secrets with env={...}")
        if (env or cwd) and self._url:
            raise UsageError("env and cwd are for a server that is started as a command; an address takes headers")
        self._command = StdioServerParameters(
            command=words[0], args=words[1:], env=dict(env or {}), cwd=cwd
        ) if words else None  # fmt: skip
        self._headers = dict(headers or {})
        self._prefix = prefix
        self._approval_mode: ApprovalMode | Mapping[str, ApprovalMode] = approval_mode
        self._repeatable = repeatable
        self._reconcile = dict(reconcile or {})
        self._timeout = timeout
        self._tools: dict[str, Tool] | None = None
        self._connections: dict[asyncio.AbstractEventLoop, _Connection] = {}
        # Never a secret: neither the rest of a command line nor the query of an address.
        self.name = _address(self._url) if self._url else words[0] if len(words) == 1 else f"{words[0]} ..."

    def __repr__(self) -> str:
        return f"MCPServer({self.name!r})"

    @property
    def tools(self) -> Sequence[Tool]:
        """Its tools, in its order.

        Raises:
            BuildError: if it was never connected, so that nobody knows them.
        """
        return tuple(self._known().values())

    def only(self, *names: str) -> Sequence[Tool]:
        """Some of its tools, by the names that the server gives them, in this order.

        Raises:
            BuildError: if it has no such tool, or was never connected.
        """
        self._check(names, "only")
        return [self._known()[name] for name in names]

    async def connect(self) -> Self:
        """Connect, and ask for the tools.

        Raises:
            ToolError: if it cannot be started or reached.
            BuildError: if `approval_mode`, `repeatable` or `reconcile` name a tool it does not have.
        """
        client = (await self._connection()).client
        listed: list[Described] = []
        cursor: str | None = None
        try:
            while True:
                page = await client.list_tools(cursor=cursor, cache_mode="refresh")
                listed += page.tools
                cursor = page.next_cursor
                if cursor is None:
                    break
        except MCPError as error:
            raise ToolError(f"the MCP server {self.name!r} does not tell its tools: {error}") from error
        before = self._tools
        self._tools = {each.name: self._tool(each) for each in listed}
        settings = {
            "approval_mode": self._approval_mode,
            "repeatable": self._repeatable,
            "reconcile": self._reconcile,
        }
        try:
            for where, given in settings.items():
                self._check(given if isinstance(given, Mapping) else (), where)
        except BuildError:
            self._tools = before
            raise
        return self

    async def aclose(self) -> None:
        """Let go of this event loop's connection; what is in flight fails. A later call makes a new one."""
        connection = self._connections.pop(asyncio.get_running_loop(), None)
        if connection is not None:
            await connection.aclose()

    async def __aenter__(self) -> Self:
        try:
            return await self.connect()
        except BaseException:
            await self.aclose()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self.aclose()

    def _known(self) -> Mapping[str, Tool]:
        if self._tools is None:
            raise BuildError(
                f"RL133 the MCP server {self.name!r} is not connected, so its tools are not known: "
                "use it in `async with server:`, or call `await server.connect()` before"
            )
        return self._tools

    def _check(self, names: Sequence[str] | Mapping[str, object], where: str) -> None:
        for name in names:
            if name not in self._known():
                close = difflib.get_close_matches(name, self._known(), 1)
                hint = f"did you mean {close[0]!r}?" if close else f"it has: {', '.join(self._known()) or 'none'}"
                raise BuildError(f"RL134 the MCP server {self.name!r} has no tool {name!r}, as in {where}; {hint}")

    def _tool(self, described: Described) -> Tool:
        name, hints = described.name, described.annotations
        hook = self._reconcile.get(name)
        # Whoever gives a hook knows better than a hint.
        harmless = bool(hook is None and hints and (hints.read_only_hint or hints.idempotent_hint))
        repeatable = _of(self._repeatable, name, harmless)
        return Tool.from_schema(
            tool_name(self._prefix + name),
            described.description or described.title or "",
            described.input_schema,
            partial(self._call, name, repeatable),
            approval_mode=_of(self._approval_mode, name, "never_require"),
            repeatable=repeatable,
            reconcile=hook,
        )

    async def _connection(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        for other in [each for each in self._connections if each.is_closed()]:
            del self._connections[other]  # it ended with its loop
        connection = self._connections.get(loop)
        if connection is None or connection.over:
            connection = self._connections[loop] = _Connection(self._client, self.name)
        try:
            async with asyncio.timeout(self._timeout):
                await connection.opened()
        except TimeoutError:
            self._drop(connection)
            raise ToolError(f"the MCP server {self.name!r} did not answer within {self._timeout:g} seconds") from None
        except ToolError:
            self._drop(connection)
            raise
        return connection

    async def _client(self, stack: AsyncExitStack) -> Client:
        if self._command is not None:
            return await stack.enter_async_context(Client(self._command))
        # Only our own timeout: a stream of events may be silent for as long as a call takes.
        limits = httpx2.Timeout(30.0, read=None)
        http = await stack.enter_async_context(httpx2.AsyncClient(headers=self._headers, timeout=limits))
        return await stack.enter_async_context(Client(streamable_http_client(self._url, http_client=http)))

    def _drop(self, connection: "_Connection") -> None:
        loop = asyncio.get_running_loop()
        if self._connections.get(loop) is connection:
            del self._connections[loop]
        connection.retire()

    async def _call(self, name: str, again: bool, arguments: dict[str, Any], context: ToolContext) -> str:
        async def told(progress: float, total: float | None, message: str | None) -> None:
            context.emit({"progress": progress, "total": total, "message": message})

        while True:
            connection = await self._connection()
            try:
                with connection.in_use():
                    result = await connection.client.call_tool(name, arguments, self._timeout, told)
                return _text(result)
            except MCPError as error:
                if error.code == REQUEST_TIMEOUT:
                    raise ToolError(
                        f"{name!r} did not answer within {self._timeout or 0:g} seconds; "
                        "whether the call took effect is not known"
                    ) from error
                if error.code not in LOST:
                    raise ToolError(str(error)) from error
                self._drop(connection)
                if not again:
                    raise ToolError(
                        f"the connection to the MCP server of {name!r} was lost ({error}); "
                        "whether the call took effect is not known"
                    ) from error
                again = False
            except RuntimeError as error:  # the SDK's word for a result that breaks the tool's own promise
                raise ToolError(str(error)) from error


class _Connection:
    """One client of the SDK, opened and closed in a task of its own, as its task groups demand."""

    def __init__(self, open_in: _Open, name: str) -> None:
        loop = asyncio.get_running_loop()
        self.client: Client
        self._ready: asyncio.Future[None] = loop.create_future()
        self._ready.add_done_callback(lambda ready: ready.cancelled() or ready.exception())  # seen, if nobody waits
        self._end = asyncio.Event()
        self._calls = 0
        self._retired = False
        # With nothing of the call that happens to be the first: others come after it.
        self._task = asyncio.create_task(self._live(open_in, name), name=f"relayline mcp {name}", context=Context())

    @property
    def over(self) -> bool:
        return self._task.done() or self._end.is_set()

    async def opened(self) -> None:
        await asyncio.shield(self._ready)

    @contextmanager
    def in_use(self) -> Generator[None]:
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1
            if self._retired:
                self.retire()

    def retire(self) -> None:
        """End as soon as no call is in flight."""
        self._retired = True
        if not self._ready.done():
            self._task.cancel()
        elif not self._calls:
            self._end.set()

    async def aclose(self) -> None:
        """End now."""
        self._end.set()
        if not self._ready.done():
            self._task.cancel()
        await asyncio.wait([self._task])

    async def _live(self, open_in: _Open, name: str) -> None:
        try:
            async with AsyncExitStack() as stack:
                self.client = await open_in(stack)
                self._ready.set_result(None)
                await self._end.wait()
        except asyncio.CancelledError:
            if not self._ready.done():
                self._ready.set_exception(ToolError(f"the connection to the MCP server {name!r} was closed"))
            raise
        except Exception as error:  # noqa: BLE001  whatever the SDK's transports raise, in groups of groups
            if not self._ready.done():
                self._ready.set_exception(_failure(name, error))
        finally:
            self._end.set()


def _failure(name: str, error: BaseException) -> ToolError:
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    if isinstance(error, MCPError) and error.code == CONNECTION_CLOSED and "://" not in name:
        why = "it ended before it answered; what it had to say is on stderr"
    else:
        why = str(error) or type(error).__name__
    made = ToolError(f"the MCP server {name!r} cannot be used: {why}")
    made.__cause__ = error
    return made


def _of(given: T | Mapping[str, T] | None, name: str, default: T) -> T:
    if isinstance(given, Mapping):
        return cast("Mapping[str, T]", given).get(name, default)
    return default if given is None else given


def _address(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _text(result: CallToolResult) -> str:
    """What a model is shown of a result.

    Raises:
        ToolError: if it says that the tool failed.
    """
    parts = [_block(each) for each in result.content]
    structured = result.structured_content
    if structured is not None and not _is_said(
        structured, [each.text for each in result.content if each.type == "text"]
    ):
        parts.append(json.dumps(structured, ensure_ascii=False))
    text = "\n".join(parts)
    if result.is_error:
        raise ToolError(text or "the tool failed, and does not say why")
    return text or "done"


def _is_said(structured: Any, texts: Sequence[str]) -> bool:
    """Whether the words hold it already. Servers are asked to repeat it there, and wrap what is no object."""
    values = [_parsed(each) for each in texts]
    said = [*values, *texts, values, list(texts)]
    return structured in said or any(structured == {"result": each} for each in said)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _block(block: ContentBlock) -> str:
    match block:
        case TextContent():
            return block.text
        case ImageContent() | AudioContent():
            return f"[{block.type}, {block.mime_type}: not shown]"
        case ResourceLink():
            return f"[{block.name}: {block.uri}]"
        case EmbeddedResource():
            held = block.resource
            return held.text if isinstance(held, TextResourceContents) else f"[{held.uri}: not shown]"
