"""An agent as a tool of others: one task, a conversation of its own, and its answer as the result."""

from typing import Annotated

from relayline.agent import Agent, HumanAgent
from relayline.builders import HandoffBuilder
from relayline.context import ToolContext
from relayline.errors import BuildError, ToolError, UsageError
from relayline.journal.store import InMemoryCheckpointStorage
from relayline.machine.topology import tool_name
from relayline.messages import JSON, Message, ToolCall, ToolResult
from relayline.runtime.requests import FunctionApprovalRequestContent
from relayline.runtime.stream import RequestInfoEvent, WorkflowEvent
from relayline.tools import ApprovalMode, Tool, tool
from relayline.workflow import Workflow

TASK = "What to do, with everything there is to know for it: your colleague sees nothing of this conversation."


def delegate(agent: Agent, name: str | None, description: str | None, approval_mode: ApprovalMode) -> Tool:
    """The tool that `Agent.as_tool` gives.

    A call may be repeated: its conversation has an id made of the call's key, so it is resumed, not begun again.

    Raises:
        BuildError: if the agent is a person, or the name cannot be a tool's.
    """
    if isinstance(agent, HumanAgent):
        raise BuildError(f"RL132 {agent.name!r} is a person, who answers when they can: hand over to them instead")
    # Named for what it is: a session of this team must not be taken up by a team that is called like the agent.
    team = HandoffBuilder(name=f"{agent.name} as a tool", participants=[agent]).build()

    async def ask(task: Annotated[str, TASK], context: ToolContext) -> str:
        return await _answer(_settled(team, agent, context), agent, task, context)

    told = agent.description if description is None else description
    return tool(ask, name=name or tool_name(agent.name), description=told, approval_mode=approval_mode, repeatable=True)


def _settled(team: Workflow, agent: Agent, context: ToolContext) -> Workflow:
    """The team where the call is made: in its store, and with a voice."""
    host = context.host
    team = team.with_store(host.store if host else InMemoryCheckpointStorage())
    if not team.mute:
        return team
    if host is None or host.client is None:
        raise UsageError(f"{agent.name!r} has no client, and there is no caller whose client it could use")
    return team.with_client(host.client)


async def _answer(team: Workflow, agent: Agent, task: str, context: ToolContext) -> str:
    session_id = f"{context.idempotency_key}/{agent.name}"
    begun = await team.store.read(session_id, upto=1)
    async with team.run(None if begun else task, session_id=session_id) as run:
        async for event in run:
            shown = _shown(event)
            if shown is not None:
                context.emit({"agent": agent.name, "session_id": session_id, **shown})
        result = await run
    if result.requests:
        raise ToolError(_pending(agent, result.requests[0]))
    said = [each.text for each in result.conversation if each.role == "assistant" and each.text]
    if not said:
        raise ToolError(f"{agent.name!r} said nothing")
    return said[-1]


def _pending(agent: Agent, request: RequestInfoEvent) -> str:
    if isinstance(request.data, FunctionApprovalRequestContent):
        return (
            f"{agent.name!r} needs a person's approval for {request.data.function_call.name!r}, and nobody can be "
            "asked inside a tool call: gate the whole with as_tool(approval_mode='always_require') instead"
        )
    return f"a call of {agent.name!r} was cut off, and nobody can say whether it took effect"


def _shown(event: WorkflowEvent) -> dict[str, JSON] | None:
    """What of the inner conversation is worth telling, as JSON."""
    match event.data:
        case Message(role="assistant") as message if message.text and event.type == "message":
            return {"type": "message", "text": message.text}
        case ToolCall() as call:
            return {"type": "tool_call", "name": call.name, "arguments": call.arguments}
        case ToolResult() as result:
            return {"type": "tool_result", "name": result.name, "content": result.content, "outcome": result.outcome}
        case _:
            return {"type": "progress", "data": event.data} if event.type == "progress" else None
