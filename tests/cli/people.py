"""A team with a person in it, for the command line to be tested on. ``short``: the same with a small budget."""

from collections.abc import AsyncIterator

from relayline import Agent, ChatClient, ChatRequest, HandoffBuilder, HumanAgent, ToolCall, ToolContext, tool


@tool
def count(context: ToolContext) -> str:
    """Count."""
    context.emit("one")
    context.emit({"two": 2})
    return "two"


class Script(ChatClient):
    """Says what the last message asks for."""

    about = "a script"

    async def stream(self, request: ChatRequest) -> AsyncIterator[str | ToolCall]:
        last = request.messages[-1]
        told = last.text
        if last.role == "tool":
            yield f"So: {last.tool_results[0].content}"
        elif "person" in told:
            yield ToolCall("1", "handoff_to_jo", '{"reason": "wants a person"}')
        elif "count" in told:
            yield ToolCall("1", "count")
        elif "conversation" in told:
            yield f"{request.agent.name} heard: {told}"
        else:
            yield f"You said {len(told)} characters."


script = Script()
triage = Agent("triage", description="First contact.", tools=[count], client=script)
jo = HumanAgent("jo", description="Decides about odd cases.")
office = Agent("back office", description="Files letters.", client=script)


def people() -> HandoffBuilder:
    builder = HandoffBuilder(name="people", participants=[triage, jo, office]).add_handoff(triage, jo)
    return builder.add_handoff(jo, [triage, office]).with_terminal_agents([office])


workflow = people().build()
short = people().with_budget(turns=1).build()
