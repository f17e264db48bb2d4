"""Who decided is on record."""

import pytest

from relayline import (
    FunctionApprovalRequestContent,
    HandoffBuilder,
    InterruptedCallRequest,
    Workflow,
    WorkflowEvent,
    tool,
)
from relayline.events import Answered
from relayline.journal.store import InMemoryCheckpointStorage, Store
from relayline.machine.inputs import Response
from relayline.testing import Crash, ScriptedClient, assert_replays, call, crash_at, handoff_to


@tool(approval_mode="always_require")
def pay(to: str) -> str:
    """Pay."""
    return f"paid {to}"


def team(client: ScriptedClient, store: Store) -> Workflow:
    desk = client.as_agent("desk", description="Pays.", tools=[pay])
    boss = client.as_agent("boss", description="Decides.")
    builder = HandoffBuilder(participants=[desk, boss]).add_handoff(desk, boss, approval="always_require")
    return builder.with_terminal_agents([boss]).with_checkpointing(store).build()


async def answered(workflow: Workflow, response: Response) -> tuple[Answered, WorkflowEvent]:
    """The answer to what is asked in session s, as it is kept and as it is shown."""
    (request,) = (await workflow.session("s")).requests
    events = [event async for event in workflow.run(responses={request.request_id: response})]
    entries = await workflow.store.read("s")
    assert_replays(entries)
    event = next(event for event in events if event.type == "request_answered")
    return next(entry.fact for entry in entries if entry.seq == event.seq), event  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("response", "kept"),
    [
        (FunctionApprovalRequestContent.create_response(approved=True, by="Jo"), ("approved", "", "Jo")),
        (
            FunctionApprovalRequestContent.create_response(
                approved=True, reason="a part", arguments={"to": "ben"}, by="Jo"
            ),
            ("approved", "a part", "Jo"),
        ),
        (FunctionApprovalRequestContent.create_response(approved=False, reason="no", by="Jo"), ("refused", "no", "Jo")),
        (FunctionApprovalRequestContent.create_response(approved=True), ("approved", "", "")),
    ],
)
async def test_who_decided_about_a_tool_is_kept_and_shown(response: Response, kept: tuple[str, str, str]) -> None:
    """In the journal and in the event, allowed, changed or refused; the model is not told."""
    client = ScriptedClient(call("pay", to="ann"), "Well.")
    workflow = team(client, InMemoryCheckpointStorage())
    await workflow.run("Pay ann.", session_id="s")
    fact, event = await answered(workflow, response)
    assert (fact.settled, fact.note, fact.by) == kept
    assert event.data == fact
    assert "Jo" not in str(client.requests[-1].messages)


async def test_who_agreed_to_a_handoff_is_kept() -> None:
    """As for a tool."""
    workflow = team(ScriptedClient(handoff_to("boss"), "Yes?"), InMemoryCheckpointStorage())
    await workflow.run("The boss, please.", session_id="s")
    fact, _ = await answered(workflow, FunctionApprovalRequestContent.create_response(approved=True, by="Jo"))
    assert (fact.settled, fact.by) == ("approved", "Jo")


@pytest.mark.parametrize(
    ("response", "kept"),
    [
        (InterruptedCallRequest.create_response("It was paid.", by="Jo"), ("told", "It was paid.", "Jo")),
        (InterruptedCallRequest.run_again(by="Jo"), ("rerun", "", "Jo")),
        (InterruptedCallRequest.run_again(), ("rerun", "", "")),
    ],
)
async def test_who_found_out_what_a_tool_did_is_kept(response: Response, kept: tuple[str, str, str]) -> None:
    """Whether they say what it did, or to run it again."""
    store, client = InMemoryCheckpointStorage(), ScriptedClient(call("pay", to="ann"), "Well.")
    (request,) = (await team(client, store).run("Pay ann.", session_id="s")).requests
    with pytest.raises(Crash):
        await team(client, crash_at(store, 2)).run(responses={request.request_id: True})
    workflow = team(client, store)
    await workflow.run(session_id="s")
    fact, event = await answered(workflow, response)
    assert (fact.settled, fact.note, fact.by) == kept
    assert event.data == fact


async def test_a_name_that_is_no_unicode_does_no_harm() -> None:
    """It is kept as far as it can be."""
    workflow = team(ScriptedClient(call("pay", to="ann"), "Well."), InMemoryCheckpointStorage())
    await workflow.run("Pay ann.", session_id="s")
    fact, _ = await answered(workflow, FunctionApprovalRequestContent.create_response(approved=True, by="J\ud800o"))
    assert fact.by.encode()
