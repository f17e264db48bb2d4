"""What a run shows: every event has its type, and those that are looked for most their own class."""

import pickle
from copy import deepcopy
from dataclasses import replace

import pytest

from relayline import (
    Agent,
    AgentRunUpdateEvent,
    ExecutorCompletedEvent,
    ExecutorFailedEvent,
    ExecutorInvokedEvent,
    HandoffBuilder,
    HandoffSentEvent,
    ModelError,
    RequestInfoEvent,
    Workflow,
    WorkflowEvent,
    WorkflowFailedEvent,
    WorkflowOutputEvent,
    WorkflowRunState,
    WorkflowStartedEvent,
    WorkflowStatusEvent,
)
from relayline.runtime.stream import CLASSES
from relayline.testing import Reply, ScriptedClient, handoff_to


def desk(*replies: Reply) -> Workflow:
    """Front hands over to bills, who can only answer."""
    client = ScriptedClient(*replies)
    front, bills = Agent("front", client=client), Agent("bills", client=client)
    return HandoffBuilder(participants=[front, bills]).add_handoff(front, bills).build()


async def told(workflow: Workflow, message: str) -> list[WorkflowEvent]:
    return [event async for event in workflow.run(message, session_id="s", stream=True)]


async def everything() -> list[WorkflowEvent]:
    """Events of every class: a question, a handoff, an end, and a model that fails."""
    workflow = desk("Which one?", handoff_to("bills"), "Paid.", RuntimeError("overloaded"))
    events = [*await told(workflow, "My invoice?"), *await told(workflow, "The last one.")]
    with pytest.raises(ModelError):
        async for event in workflow.run("Sure?", session_id="s"):
            events.append(event)
    return events


async def test_an_event_is_of_its_types_class():
    """To ask for the type and to ask for the class is the same, for every event of every type that has one."""
    events = await everything()
    assert {event.type for event in events} >= set(CLASSES)
    for event in events:
        assert type(event) is CLASSES.get(event.type, WorkflowEvent)


async def test_both_ways_to_look_at_events_see_the_same():
    """A reader by class finds what a reader by type finds, under the names that each class promises."""
    first, *_ = events = await everything()
    assert isinstance(first, WorkflowStartedEvent)
    assert [event.state for event in events if isinstance(event, WorkflowStatusEvent)] == [
        WorkflowRunState.IN_PROGRESS, WorkflowRunState.IDLE_WITH_PENDING_REQUESTS,
        WorkflowRunState.IN_PROGRESS, WorkflowRunState.IDLE,
        WorkflowRunState.IN_PROGRESS, WorkflowRunState.FAILED,
    ]  # fmt: skip
    assert [event.data for event in events if isinstance(event, AgentRunUpdateEvent)] == ["Which one?", "Paid."]
    by_class = [event.executor_id for event in events if isinstance(event, ExecutorInvokedEvent)]
    assert by_class == [event.data.agent for event in events if event.type == "executor_invoked"]
    assert [event.executor_id for event in events if isinstance(event, ExecutorCompletedEvent)] == by_class[:-1]
    (handoff,) = [event.data for event in events if isinstance(event, HandoffSentEvent)]
    assert (handoff.source, handoff.target) == ("front", "bills")
    (asked,) = [event for event in events if isinstance(event, RequestInfoEvent)]
    assert (asked.request_id, asked.source_executor_id) == ("s/r1", "front")
    (output,) = [event.data for event in events if isinstance(event, WorkflowOutputEvent)]
    assert output[-1].text == "Paid."
    (failed,) = [event.data for event in events if isinstance(event, ExecutorFailedEvent)]
    assert failed.message == "overloaded"
    assert isinstance(events[-2], WorkflowFailedEvent)
    assert isinstance(events[-2].data, ModelError)


async def test_what_a_result_waits_for_is_of_the_class_too():
    """Pending requests are the same kind of event, in a result and in a look at the session."""
    workflow = desk("Which one?")
    result = await workflow.run("My invoice?", session_id="s")
    view = await workflow.session("s")
    assert [type(each) for each in (*result.requests, *view.requests)] == [RequestInfoEvent, RequestInfoEvent]


async def test_events_are_values():
    """An event of any class is equal to its copies, also through pickle, says what it is, and cannot be changed."""
    for event in [each for each in await everything() if each.type != "failed"]:
        for copy in (replace(event), deepcopy(event), pickle.loads(pickle.dumps(event))):  # noqa: S301
            assert copy == event
            assert copy != replace(event, session_id="other")
        assert repr(event).startswith(f"{type(event).__name__}(type={event.type!r}, session_id='s', ")
        with pytest.raises(AttributeError):
            event.type = "output"  # type: ignore[misc]
        assert not hasattr(event, "__dict__")


def test_an_event_of_a_class_needs_no_type():
    """The class is the type: a front end that makes one for its tests cannot get it wrong."""
    event = RequestInfoEvent("s", None, "front", "s/r1")
    assert event.type == "request_info"
    match event:
        case RequestInfoEvent(request_id=found):
            assert found == "s/r1"
