"""A team in a row that asks a person twice, for the command line to be tested on."""

from collections.abc import AsyncIterator

from relayline import ChatClient, ChatRequest, ExecutorContext, SequentialBuilder, executor


class Script(ChatClient):
    about = "a script"

    async def stream(self, request: ChatRequest) -> AsyncIterator[str]:
        yield f"Draft {sum(each.role == 'user' for each in request.messages)}."


@executor
async def price(draft: str, context: ExecutorContext) -> str:
    """Ask what a word costs."""
    return f"{draft} {await context.request_info('cents for a word?', int)} cents"


workflow = SequentialBuilder(name="writers", participants=[Script().as_agent("writer"), price])
workflow = workflow.with_request_info(["writer"]).build()
