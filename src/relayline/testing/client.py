"""A model that says what a test tells it to, and complains if it is spoken to wrongly."""

import asyncio
import inspect
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias, cast

from relayline.agent import ChatClient, ChatRequest, Chunk
from relayline.machine.topology import tool_names
from relayline.messages import JSON, ToolCall
from relayline.testing.requests import check_request

Plain: TypeAlias = Chunk | BaseException | Sequence[Chunk | BaseException]
Reply: TypeAlias = Plain | Callable[[ChatRequest], Plain | Awaitable[Plain]]
"""Words, a call, a list of chunks, an exception to raise (in a list: after what stands before it), or a function of the
request, async or not, that returns one of these. A `ToolCall` with an empty id gets one that is unique in its reply."""


class ScriptedClient(ChatClient):
    """Gives ``replies`` in order; strict about what it is asked.

    One script for all agents that use it, ``ScriptedClient("Hello.", handoff_to("orders"))``, or one for each,
    ``ScriptedClient({"triage": [...], "orders": [...]})``. Every request has to pass `check_request`. ``delay``:
    seconds before each chunk; the default gives way to other tasks and takes no time.

    ``requests`` keeps every request, oldest first. ``problems``: what was wrong; a run only reports it as a
    `ModelError`, so end a test with `assert_done`.
    """

    def __init__(self, *replies: Reply | Mapping[str, Sequence[Reply]], delay: float = 0.0) -> None:
        self.requests: list[ChatRequest] = []
        self.problems: list[AssertionError] = []
        self._delay = delay
        self._common = [reply for reply in replies if not isinstance(reply, Mapping)]
        mappings = [cast("Mapping[str, Sequence[Reply]]", reply) for reply in replies if isinstance(reply, Mapping)]
        if mappings and len(replies) > 1:
            raise TypeError("give replies in order, or one mapping of agent to replies; not both")
        self._scripts = {agent: list(script) for agent, script in mappings[0].items()} if mappings else None

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        """The next scripted reply.

        Raises:
            AssertionError: if the script is at its end, or the request is one that a provider would refuse.
        """
        # A copy, because what is kept must be what was asked, whatever becomes of the caller's list.
        self.requests.append(replace(request, messages=tuple(request.messages)))
        try:
            check_request(request)
            reply = self._next(request)
        except AssertionError as problem:
            self.problems.append(problem)
            raise
        if callable(reply):
            made = reply(request)
            reply = await made if inspect.isawaitable(made) else made
        chunks = [reply] if isinstance(reply, Chunk | BaseException) else list(reply)
        for number, chunk in enumerate(chunks):
            await asyncio.sleep(self._delay)
            if isinstance(chunk, BaseException):
                raise chunk
            yield replace(chunk, id=f"call-{number}") if isinstance(chunk, ToolCall) and not chunk.id else chunk

    def assert_done(self) -> None:
        """Fail if a request was wrong, or a reply is left.

        Raises:
            AssertionError: with the first problem, or with what is left.
        """
        if self.problems:
            raise self.problems[0]
        scripts = {"anyone": self._common} if self._scripts is None else self._scripts
        left = [f"{len(script)} for {agent}, next {script[0]!r:.60}" for agent, script in scripts.items() if script]
        assert not left, f"scripted replies were not used: {'; '.join(left)}"

    def _next(self, request: ChatRequest) -> Reply:
        agent = request.agent.name
        number = len(self.requests)
        script = self._common
        if self._scripts is not None:
            known = ", ".join(self._scripts)
            assert agent in self._scripts, f"request {number} is {agent}'s, who has no script; there is one for {known}"
            script = self._scripts[agent]
        assert script, f"request {number} ({agent}) finds the script at its end; last message: {_last(request)}"
        return script.pop(0)


def call(tool: str, /, **arguments: JSON) -> ToolCall:
    """A model's call of ``tool``."""
    return ToolCall("", tool, json.dumps(arguments, ensure_ascii=False))


def handoff_to(agent: str, *, reason: str = "", payload: JSON = None) -> ToolCall:
    """A model's handoff to ``agent``, declared or not, with the ``payload`` the edge asks for.

    Of two agents whose names differ only in what a tool's name cannot hold, it means the one that is plain; for the
    other, `call` the tool by its whole name.
    """
    name = tool_names([agent])[agent]
    given: dict[str, JSON] = {"reason": reason, "payload": payload}
    return call(name, **{key: value for key, value in given.items() if value})


def _last(request: ChatRequest) -> str:
    message = request.messages[-1]
    words = message.text or "; ".join(result.content for result in message.tool_results)
    return f"{message.role}: {words!r:.200}"
