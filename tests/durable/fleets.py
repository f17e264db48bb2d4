"""A fleet in this process: several workers, each with a team of its own on one store, and one dispatcher."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from relayline import Agent, ChatClient, ChatRequest, HandoffBuilder, Message, Workflow, WorkflowRunState, tool
from relayline.agent import Chunk
from relayline.dispatch import Dispatcher, Limits
from relayline.durable.worker import Worker
from relayline.errors import SessionNotFound
from relayline.journal.store import Store
from relayline.testing import call, check_everywhere

PATIENCE = 30
"""Seconds after which something will not happen any more."""

QUICK: Mapping[str, float] = {"lease": 2.0, "beat": 0.2}
"""So that tests need not wait long for a worker that is gone."""


class Echo(ChatClient):
    """Answers every message with its own words. ``gate``: what it waits for before, given the words."""

    def __init__(self, gate: Callable[[str], Any] | None = None, says: str = "You said") -> None:
        self._gate = gate
        self._says = says
        self.asked: list[str] = []

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        check_everywhere(request)
        said = last_words(request.messages)
        self.asked.append(said)
        yield f"{self._says}: "
        if self._gate is not None:
            await self._gate(said)
        yield said


class Calls(ChatClient):
    """Calls a tool, and is done when it has its result."""

    def __init__(self, name: str, **arguments: Any) -> None:
        self._call = call(name, **arguments)

    async def stream(self, request: ChatRequest) -> AsyncIterator[Chunk]:
        check_everywhere(request)
        yield "Done." if request.messages[-1].role == "tool" else self._call


def last_words(messages: Any) -> str:
    return next(each.text for each in reversed(messages) if each.role == "user" and not each.author_name)


def team(store: Store, client: ChatClient, **given: Any) -> Workflow:
    """One agent that answers."""
    desk = Agent("desk", client=client, **given)
    return (
        HandoffBuilder(name="desk", participants=[desk])
        .with_terminal_agents(["desk"])
        .with_checkpointing(store)
        .build()
    )


@tool(approval_mode="always_require")
def refund(order: int) -> str:
    """Give money back."""
    return f"refunded {order}"


def gated(store: Store, **builder: Any) -> Workflow:
    """A desk that asks before it refunds, whatever it is told."""
    desk = Agent("desk", client=Calls("refund", order=7), tools=[refund])
    built = HandoffBuilder(name="desk", participants=[desk]).with_terminal_agents(["desk"])
    if builder:
        built = built.with_request_expiry(**builder)
    return built.with_checkpointing(store).build()


@asynccontextmanager
async def working(*workers: Worker) -> AsyncIterator[None]:
    """Workers at work, and gone in the end as if they had been killed."""
    loop = asyncio.get_running_loop()
    told = loop.get_exception_handler()

    def tell(at: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if told is not None and not _came_too_late(context.get("exception")):
            told(at, context)

    loop.set_exception_handler(tell)
    tasks = [asyncio.create_task(worker.serve()) for worker in workers]
    try:
        yield
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        loop.set_exception_handler(told)


def _came_too_late(error: BaseException | None) -> bool:
    """Whether it is hypercorn's (0.18) about a request that came while its server was leaving.

    It refuses that one, misses it when the body comes, and breaks the connection with whatever else is on it. Restate asks
    another worker.
    """

    def its_own(each: BaseException) -> bool:
        return isinstance(each, KeyError) or (isinstance(each, RuntimeError) and "is shutting down" in str(each))

    return isinstance(error, BaseExceptionGroup) and error.split(its_own)[1] is None


def worker(workflow: Workflow, dispatcher: Dispatcher, limits: Limits | None = None, **given: Any) -> Worker:
    """One with a pool of sessions of its own, as another process has."""
    apart = workflow.with_store(workflow.store).with_dispatcher(dispatcher)
    return Worker(apart, limits, **{**QUICK, **given})


async def until(happened: Callable[[], Any], patience: float = PATIENCE) -> Any:
    """Wait for what others do."""
    loop = asyncio.get_running_loop()
    end = loop.time() + patience
    while loop.time() < end:
        found = await happened()
        if found:
            return found
        await asyncio.sleep(0.01)
    raise AssertionError(f"it did not happen within {patience} seconds")


async def so(value: object) -> object:
    """For `until`: what is known without waiting."""
    return value


async def answered(workflow: Workflow, session_id: str, messages: int) -> list[Message]:
    """The conversation, once so many messages of the user's were answered and the session rests."""

    async def look() -> list[Message] | None:
        try:
            view = await workflow.session(session_id)
        except SessionNotFound:
            return None
        said = sum(each.role == "user" for each in view.conversation)
        rests = view.state in (WorkflowRunState.IDLE, WorkflowRunState.IDLE_WITH_PENDING_REQUESTS)
        return list(view.conversation) if rests and said >= messages else None

    return await until(look)


async def state(workflow: Workflow, session_id: str, wanted: WorkflowRunState, patience: float = PATIENCE) -> None:
    """Wait until the session is there."""

    async def look() -> bool:
        try:
            return (await workflow.session(session_id)).state is wanted
        except SessionNotFound:
            return False

    await until(look, patience)
