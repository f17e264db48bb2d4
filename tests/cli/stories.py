"""Runs of the scripted team, recorded as events for a screen to show."""

from collections.abc import Mapping

from relayline import WorkflowEvent
from tests.cli.team import workflow


async def recorded(
    *messages: str, session_id: str = "s", responses: Mapping[str, object] | None = None
) -> list[WorkflowEvent]:
    """The events of one run per message, on a store of their own, then of one with ``responses``."""
    from relayline import InMemoryCheckpointStorage

    team = workflow.with_store(InMemoryCheckpointStorage())
    events: list[WorkflowEvent] = []
    for message in messages:
        events += [event async for event in team.run(message, session_id=session_id, stream=True)]
    if responses:
        events += [event async for event in team.run(responses=responses, stream=True)]
    return events
