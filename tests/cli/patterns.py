"""Teams that pause as other patterns do: for a look at what an agent said, for a value, and deep within."""

from collections.abc import AsyncIterator

from relayline import (
    Agent,
    ChatClient,
    ChatRequest,
    ExecutorContext,
    HandoffBuilder,
    SequentialBuilder,
    ToolCall,
    executor,
)
from tests.cli.team import refund


class Script(ChatClient):
    """Writes, refunds once, and says what came of it."""

    about = "a script"

    async def stream(self, request: ChatRequest) -> AsyncIterator[str | ToolCall]:
        last = request.messages[-1]
        if last.role == "tool":
            yield f"Done: {last.tool_results[0].content}"
        elif any(spec.name == "refund" for spec in request.tools):
            yield ToolCall("1", "refund", '{"number": "A-1", "amount": 5}')
        else:
            yield "Shorter." if "shorter" in last.text else "A draft."


@executor
async def sign(text: str, context: ExecutorContext) -> str:
    """Signs what a person allows."""
    return f"{text} Signed: {await context.request_info({'text': text}, bool)}"


def agent(name: str) -> Agent:
    return Agent(name, client=Script())


reviewed = SequentialBuilder(name="reviewed", participants=[agent("writer")]).with_request_info().build()
signed = SequentialBuilder(name="signed", participants=[agent("writer"), sign]).build()
refunds = HandoffBuilder(name="refunds", participants=[Agent("clerk", client=Script(), tools=[refund])]).build()
nested = SequentialBuilder(name="nested", participants=[agent("triage"), refunds.as_agent()]).build()
