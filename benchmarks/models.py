"""What a real model costs beside the network: CPU time of our layer, above what pydantic-ai itself takes, in the same run.

    python benchmarks/models.py

One server in another process answers with Chat Completions. Both sides go through the same model object, the same
connection and the same words, after a conversation that both have had before; ours renders what is new in its
`ChatRequest`, and what came of it. CPU time of this
process, the two by turns, median of several rounds; figures of one machine are only good for comparison with each other.
"""

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

from pydantic_ai.direct import model_request_stream
from pydantic_ai.messages import InstructionPart, ModelRequest, ModelResponse, TextPart, UserPromptPart
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.tools import ToolDefinition

from relayline import Agent, ChatRequest, Message, Text, ToolSpec
from relayline.clients.models import client
from relayline.messages import user

ROUNDS, CALLS = 9, 60
TURNS = 5  # of the conversation so far, which is ten messages
SHORT, LONG = 1, 201  # words of a reply
SCHEMA = {"type": "object", "properties": {"reason": {"type": "string"}}, "additionalProperties": False}
TOOLS = [ToolSpec(f"handoff_to_{name}", f"Hand over to {name}.", SCHEMA, name) for name in ("a", "b", "c")]

SERVER = """
import asyncio, json, sys
def chunk(delta, ends=None, **more):
    told = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", **more}
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": ends}], **told}).encode() + b"\\n\\n"
REPLIES = {}
for count in map(int, sys.argv[1:]):
    body = b"".join(chunk({"content": "word "}) for _ in range(count)) + chunk({}, "stop")
    usage = {"prompt_tokens": 9, "completion_tokens": count, "total_tokens": 9 + count}
    body += chunk({}, None, usage=usage) + b"data: [DONE]\\n\\n"
    head = f"HTTP/1.1 200 OK\\r\\ncontent-type: text/event-stream\\r\\ncontent-length: {len(body)}\\r\\n\\r\\n".encode()
    REPLIES[count] = head + body
async def serve(reader, writer):
    try:
        while True:
            head = (await reader.readuntil(b"\\r\\n\\r\\n")).lower()
            await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\\r\\n")[0]))
            writer.write(REPLIES[int(head.split(b"/")[1])])
    except asyncio.IncompleteReadError:
        writer.close()
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


def conversation() -> tuple[Message, ...]:
    return (*[user("q" * 120), Message("assistant", (Text("a" * 200),), "front")] * TURNS,)


def native() -> tuple[list[ModelRequest | ModelResponse], ModelRequestParameters]:
    said = [ModelRequest([UserPromptPart("q" * 120)]), ModelResponse([TextPart("a" * 200)])] * TURNS
    tools = [
        ToolDefinition(name=each.name, description=each.description, parameters_json_schema=SCHEMA) for each in TOOLS
    ]
    told = [InstructionPart(content="Be brief.")]
    return said, ModelRequestParameters(function_tools=tools, instruction_parts=told)


async def cpu(work: Callable[[], Awaitable[None]]) -> float:
    """Seconds of one call."""
    begun = time.process_time()
    for _ in range(CALLS):
        await work()
    return (time.process_time() - begun) / CALLS


async def measure(base_url: str) -> tuple[float, float]:
    """Of a call: pydantic-ai alone, and ours."""
    voice = client("openai:m", api_key="k", base_url=base_url)
    model: Model = await voice._model()
    agent, said, (messages, parameters) = Agent("front", "Be brief."), conversation(), native()

    async def alone() -> None:
        now = [*messages, ModelRequest([UserPromptPart("q" * 120)])]
        async with model_request_stream(model, now, model_request_parameters=parameters) as reply:
            async for _ in reply:
                pass
            reply.get()

    async def ours() -> None:
        async for _ in voice.stream(ChatRequest(agent, (*said, user("q" * 120)), TOOLS)):
            pass

    await cpu(alone)
    await cpu(ours)
    rounds = [(await cpu(alone), await cpu(ours)) for _ in range(ROUNDS)]
    floors, above = [floor for floor, _ in rounds], [mine - floor for floor, mine in rounds]
    return statistics.median(floors), statistics.median(floors) + statistics.median(above)


async def both(address: str) -> tuple[tuple[float, float], tuple[float, float]]:
    return await measure(f"{address}/{SHORT}/v1"), await measure(f"{address}/{LONG}/v1")


def main() -> int:
    command = [sys.executable, "-c", SERVER, str(SHORT), str(LONG)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        short, long = asyncio.run(both(f"http://127.0.0.1:{server.stdout.readline().strip()}"))
        server.terminate()
    each = LONG - SHORT
    rows = [
        ("a call, with ten messages and three tools", 50.0, short),
        ("a streamed token", 10.0, ((long[0] - short[0]) / each, (long[1] - short[1]) / each)),
    ]
    print(f"{'CPU, µs':44}{'pydantic-ai':>14}{'relayline':>12}{'above':>9}{'at most':>9}")
    wrong = 0
    for name, limit, (floor, mine) in rows:
        above = (mine - floor) * 1e6
        wrong += above > limit
        verdict = "  TOO MUCH" if above > limit else ""
        print(f"{name:44}{floor * 1e6:14.1f}{mine * 1e6:12.1f}{above:9.1f}{limit:9.1f}{verdict}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
