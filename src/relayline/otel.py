"""Spans of OpenTelemetry (the extra ``otel``): a run, the turns in it, and the calls of models and tools in these.

::

    team = traced(builder.build())

Names and attributes are those of the conventions for generative AI, which are not stable yet. Nothing that was said is
in them, nor what tools were given and returned. Who exports the spans is the program's to set up.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from time import time_ns
from typing import Any

from relayline.errors import MissingExtra
from relayline.journal.inbox import Claim
from relayline.machine.effects import CallModel, Effect, Inside, Judge, Reconcile, RunTool
from relayline.machine.inputs import EffectFailed, Input, ModelReplied, OutcomeFound, Summary, ToolDone
from relayline.machine.state import State
from relayline.middleware import Middleware
from relayline.runtime.perform import Context, Perform
from relayline.runtime.run import Run
from relayline.runtime.stream import Emit, RunResult, discard
from relayline.workflow import Workflow

try:
    from opentelemetry.context import get_current
    from opentelemetry.trace import (
        Span,
        SpanKind,
        StatusCode,
        Tracer,
        TracerProvider,
        get_tracer,
        set_span_in_context,
        use_span,
    )
except ImportError as missing:
    raise MissingExtra("spans need the API of OpenTelemetry: pip install 'relayline[otel]'") from missing


def traced(workflow: Workflow, provider: TracerProvider | None = None) -> Workflow:
    """The same team, whose runs and work on a fleet leave spans. ``provider``: by default the program's.

    Only what this team does itself: a team that it becomes a part of by `Workflow.as_agent` leaves its own, with those
    of all teams within it. A reply with all its retries is one span.
    """
    owner = object()
    given = {each.name: getattr(workflow, each.name) for each in fields(workflow)}
    given["middleware"] = (_spans(owner), *workflow.middleware)
    return _Traced(**given, tracer=get_tracer("relayline", tracer_provider=provider), owner=owner)


@dataclass(slots=True)
class _Turn:
    """A turn's span, and when the last of what was done in it was done."""

    span: Span
    until: int = 0


@dataclass(slots=True)
class _Trace:
    """The spans of one run that are not over. ``turns``: by their numbers in the team and in the teams within it."""

    tracer: Tracer
    owner: object
    turns: dict[tuple[int, ...], _Turn] = field(default_factory=dict[tuple[int, ...], _Turn])

    def end(self, over: Callable[[tuple[int, ...]], bool]) -> None:
        """End the spans of turns that are over, when they were."""
        for key in [key for key in reversed(self.turns) if over(key)]:
            turn = self.turns.pop(key)
            turn.span.end(turn.until)

    def begun(self, effect: Effect, context: Context) -> list[_Turn]:
        """The turns that the effect is of, the outermost first."""
        state = context.session.state
        self.end(lambda key: not _open(state, key))
        found: list[_Turn] = []
        around, key, path = get_current(), (), ""
        for number, agent in _turns(context.inside or effect):
            key, path = (*key, number), f"{path}/{agent}" if path else agent
            if key not in self.turns:
                about = _about("invoke_agent", context, path)
                self.turns[key] = _Turn(self.tracer.start_span(f"invoke_agent {agent}", around, attributes=about))
            found.append(self.turns[key])
            around = set_span_in_context(found[-1].span, around)
        return found

    @contextmanager
    def performing(self, effect: CallModel | RunTool | Reconcile, context: Context) -> Generator[Span]:
        """The span of one effect, below that of its turn."""
        turns = self.begun(effect, context)
        around = set_span_in_context(turns[-1].span)
        if isinstance(effect, CallModel):
            about = _about("chat", context, effect.agent)
            span = self.tracer.start_span("chat", around, SpanKind.CLIENT, about)
        else:
            what = "execute_tool" if isinstance(effect, RunTool) else "reconcile_tool"
            about = _about(what, context, effect.agent) | {"gen_ai.tool.name": effect.call.name}
            about |= {"gen_ai.tool.type": "function", "gen_ai.tool.call.id": effect.id}
            span = self.tracer.start_span(f"{what} {effect.call.name}", around, attributes=about)
        try:
            with _failing(span):
                yield span
        finally:
            now = time_ns()
            span.end(now)
            for turn in turns:
                turn.until = now


_current: ContextVar[_Trace | None] = ContextVar("relayline.otel", default=None)


@dataclass(frozen=True, slots=True)
class _Traced(Workflow):
    tracer: Tracer = field(kw_only=True, repr=False, compare=False)
    owner: object = field(kw_only=True, repr=False, compare=False)

    def run(self, *given: Any, **named: Any) -> Run:  # as `Workflow.run`
        inner = Workflow.run(self, *given, **named)

        async def work(emit: Emit) -> RunResult:
            with self._running(inner.session_id) as span:
                if emit is not discard:
                    async with inner:
                        async for event in inner:
                            run.session_id = inner.session_id
                            await emit(event)
                result = await inner
                run.session_id = result.session_id
                span.set_attributes({"gen_ai.conversation.id": result.session_id, "relayline.state": result.state})
                return result

        run = Run(inner.session_id, work)
        return run

    async def work_off(self, claim: Claim, listen: Callable[[int], Emit] = lambda _: discard) -> None:
        with self._running(claim.session_id):
            await Workflow.work_off(self, claim, listen)

    @contextmanager
    def _running(self, session_id: str) -> Generator[Span]:
        about = {"gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.name": self.name}
        about["gen_ai.conversation.id"] = session_id
        span = self.tracer.start_span(f"invoke_workflow {self.name}", attributes=about)
        trace = _Trace(self.tracer, self.owner)
        token = _current.set(trace)
        try:
            with _failing(span):
                yield span
        finally:
            _current.reset(token)
            trace.end(lambda _: True)
            span.end()


def _spans(owner: object) -> Middleware:
    def around(perform: Perform) -> Perform:
        async def spanned(effect: Effect, context: Context) -> Input:
            trace = _current.get()
            if trace is None or trace.owner is not owner or isinstance(effect, Judge | Inside):
                return await perform(effect, context)
            with trace.performing(effect, context) as span:
                outcome = await perform(effect, context)
                _tell(span, outcome)
                return outcome

        return spanned

    return around


@contextmanager
def _failing(span: Span) -> Generator[None]:
    """The span is the current one; of what it fails with only the kind is told, as the rest may quote somebody."""
    with use_span(span, record_exception=False, set_status_on_exception=False):
        try:
            yield
        except BaseException as error:
            _failed(span, type(error).__name__)
            raise


def _failed(span: Span, kind: str) -> None:
    span.set_attribute("error.type", kind)
    span.set_status(StatusCode.ERROR)


def _tell(span: Span, outcome: Input) -> None:
    match outcome:
        case ModelReplied() | Summary():
            if outcome.model:
                span.update_name(f"chat {outcome.model}")
                span.set_attribute("gen_ai.response.model", outcome.model)
            span.set_attribute("gen_ai.usage.input_tokens", outcome.input_tokens)
            span.set_attribute("gen_ai.usage.output_tokens", outcome.output_tokens)
            if isinstance(outcome, ModelReplied) and outcome.cached_tokens:
                span.set_attribute("gen_ai.usage.cache_read.input_tokens", outcome.cached_tokens)
        case EffectFailed(_, error):
            _failed(span, error)
        case ToolDone(outcome="error"):
            _failed(span, "tool_error")
        case OutcomeFound(problem=problem) if problem:
            _failed(span, "tool_error")
        case _:
            pass


def _about(operation: str, context: Context, path: str) -> dict[str, str]:
    return {
        "gen_ai.operation.name": operation,
        "gen_ai.agent.name": path.rpartition("/")[2],
        "gen_ai.conversation.id": context.session.id,
        "relayline.path": path,
    }


def _turns(effect: Effect) -> Iterator[tuple[int, str]]:
    """The turns an effect is of, the outermost first: the number of each in its team, and whose it is."""
    while isinstance(effect, Inside):
        yield effect.turn, effect.agent
        effect = effect.effect
    if not isinstance(effect, Judge):
        yield effect.turn, effect.agent


def _open(state: State, key: tuple[int, ...]) -> bool:
    for number in key:
        turn = state.open.get(number)
        if turn is None:
            return False
        state = turn.part.inner or State()
    return True
