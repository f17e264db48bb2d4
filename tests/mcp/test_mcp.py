"""Tools on MCP servers: a real server as a process of its own, and one that is reached over HTTP."""

import asyncio
import gc
import os
import signal
import sys
import threading
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

pytest.importorskip("mcp", reason="MCP servers are an extra")

import uvicorn

from relayline import Agent, BuildError, HandoffBuilder, ToolContext, ToolError, UsageError, tool
from relayline.mcp import MCPServer
from relayline.testing import ScriptedClient, call, check_request
from tests.mcp import shop

QUICK = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    match asked["method"]:
        case "initialize":
            about = {"protocolVersion": asked["params"]["protocolVersion"], "serverInfo": {"name": "q", "version": "1"}}
            answer = {"result": about | {"capabilities": {"tools": {}}}}
        case "tools/list":
            answer = {"result": {"tools": [{"name": "orders", "inputSchema": {"type": "object"}}]}}
        case "tools/call":
            answer = {"result": {"content": [{"type": "text", "text": "none"}]}}
        case _:
            answer = {"error": {"code": -32601, "message": "unknown"}}
    if "id" in asked:
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **answer}), flush=True)
"""
"""An old server by hand: it starts at once."""

SHOP = [sys.executable, str(Path(shop.__file__))]
CONTEXT = ToolContext("ann", "desk", "t1-s1-c0", "ann/t1-s1-c0", [])


@asynccontextmanager
async def served():
    """The shop on a port of this machine, in this process."""
    app = shop.server.streamable_http_app()
    seen = []

    async def counted(scope, receive, send):
        seen.append(dict(scope.get("headers", ())))
        await app(scope, receive, send)

    config = uvicorn.Config(counted, port=0, log_level="error", lifespan="on")
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/mcp", seen
    server.should_exit = True
    await task


def named(server, name):
    return next(each for each in server.tools if each.name == name)


async def called(server, name, arguments="{}"):
    return await named(server, name).call(arguments, CONTEXT)


async def test_an_agent_calls_the_tools_of_a_server():
    """What the server offers is offered to the model, what it answers is the result, and what it says meanwhile shown."""
    calls = [call("find_order", number="A-1"), call("orders"), call("picture"), call("fail", why="closed")]
    client = ScriptedClient([*calls, call("wait", seconds=0)], "Done.")
    async with MCPServer(SHOP) as server:
        team = HandoffBuilder(participants=[client.as_agent("desk", tools=[server])]).build()
        events = [event async for event in team.run("Where is A-1?")]
    check_request(client.requests[0])
    spec = client.requests[0].tools[0]
    assert (spec.name, spec.description) == ("find_order", "Find an order by its number.")
    assert spec.parameters["required"] == ["number"]
    results = {each.data.name: each.data for each in events if each.type == "tool_result"}
    assert results["find_order"].content == '{\n  "number": "A-1",\n  "total": 42\n}'
    assert results["orders"].content == "A-1\nA-2"
    assert results["picture"].content == "[image, image/png: not shown]"
    assert results["fail"].outcome == "error"
    assert results["fail"].content.endswith("no: closed")
    shown = [each.data for each in events if each.type == "progress"]
    assert shown == [{"progress": 1.0, "total": 2.0, "message": "half"}]


async def test_a_server_over_http_does_the_same():
    """An address is as good as a command, and is sent the headers."""
    async with served() as (url, seen):
        async with MCPServer(url, headers={"x-key": "k"}) as server:
            assert await called(server, "find_order", '{"number": "A-1"}') == '{\n  "number": "A-1",\n  "total": 42\n}'
            with pytest.raises(ToolError, match="no: closed"):
                await called(server, "fail", '{"why": "closed"}')
        assert all(each[b"x-key"] == b"k" for each in seen if each)


async def test_a_server_over_http_that_comes_back_is_found_again():
    """A call while nobody answers fails, and the next one finds the server again."""
    app = shop.server.streamable_http_app()
    config = uvicorn.Config(app, port=0, log_level="error")
    async with served() as (url, _):
        server = await MCPServer(url).connect()
    with pytest.raises(ToolError, match="connect"):
        await called(server, "orders")
    config.port = int(url.split(":")[2].partition("/")[0])
    again = uvicorn.Server(config)
    task = asyncio.create_task(again.serve())
    while not again.started:
        await asyncio.sleep(0.01)
    assert await called(server, "orders") == "A-1\nA-2"
    await server.aclose()
    again.should_exit = True
    await task


async def test_the_server_checks_the_arguments():
    """What does not fit is told by the server; what is no JSON object never reaches it."""
    async with MCPServer(SHOP) as server:
        with pytest.raises(ToolError, match="number"):
            await called(server, "find_order", '{"number": 3}')
        assert "expected one JSON object" in str(named(server, "orders").problem("[1]"))
        assert "expected one JSON object" in str(named(server, "orders").problem('{"a": NaN}'))
        assert named(server, "orders").problem("") is None


async def test_who_is_asked_and_what_is_repeatable():
    """Approval is for all tools or for named ones; what may be repeated is what the server says, unless told otherwise."""
    async with MCPServer(SHOP, approval_mode={"refund.order": "always_require"}) as server:
        assert [each.name for each in server.tools if each.approval_mode == "always_require"] == ["refund_order"]
        reads = {each.name for each in server.tools if each.repeatable}
        assert reads == {"find_order", "crash_once", "process", "secret"}
    async with MCPServer(SHOP, approval_mode="always_require", repeatable={"orders": True, "process": False}) as server:
        assert all(each.approval_mode == "always_require" for each in server.tools)
        assert named(server, "orders").repeatable
        assert not named(server, "process").repeatable
        assert named(server, "find_order").repeatable


async def test_a_gated_call_waits_for_a_person():
    """A tool of a server is approved as any other, and runs when it is."""
    client = ScriptedClient(call("refund_order", number="A-1", amount=5), "Done.")
    async with MCPServer(SHOP, approval_mode={"refund.order": "always_require"}) as server:
        team = HandoffBuilder(participants=[client.as_agent("desk", tools=[server])]).build()
        asked = (await team.run("Money back.", session_id="ann")).requests[0]
        result = await team.run(responses={asked.request_id: asked.data.create_response(approved=True)})
    assert [each.content for message in result.messages for each in message.tool_results] == ["paid 5 back for A-1"]


async def test_agents_share_a_connection_and_choose_their_tools():
    """One process serves all agents that hold the server; each is offered what it was given."""
    async with MCPServer(SHOP) as server:
        first, second = Agent("a", tools=server.only("process")), Agent("b", tools=[server])
        assert [each.name for each in first.tools] == ["process"]
        assert len(second.tools) == 9
        pids = {await agent.tools[-1 if agent is first else 7].call("{}", CONTEXT) for agent in (first, second)}
        assert len(pids) == 1
        with pytest.raises(BuildError, match="RL134 .* no tool 'proces', as in only; did you mean 'process'"):
            server.only("proces")


async def test_a_gate_for_a_tool_that_does_not_exist_is_refused():
    """A slip in the name of a tool to be approved must not open it."""
    for options in ({"approval_mode": {"refund_order": "always_require"}}, {"repeatable": {"refund": True}}):
        with pytest.raises(BuildError, match="RL134"):
            async with MCPServer(SHOP, **options):
                pass
    with pytest.raises(BuildError, match="RL124"):
        async with MCPServer(SHOP, approval_mode="always"):
            pass


async def test_a_tool_of_a_server_may_have_somebody_who_knows_what_it_did():
    """A hook is given by the server's own name of the tool, and asked with the key and the arguments."""
    asked: list[tuple[str, object]] = []

    def find(key: str, arguments: dict[str, object]) -> str:
        asked.append((key, arguments))
        return "found"

    async with MCPServer(SHOP, prefix="shop_", reconcile={"process": find}) as server:
        (tool,) = [each for each in server.tools if each.hook]
        assert (tool.name, tool.repeatable) == ("shop_process", False)
        assert await tool.outcome('{"a": 1}', CONTEXT) == "found"
        assert asked == [(CONTEXT.idempotency_key, {"a": 1})]
    with pytest.raises(BuildError, match="RL134 .* no tool 'proces', as in reconcile; did you mean 'process'"):
        async with MCPServer(SHOP, reconcile={"proces": find}):
            pass


async def test_names_that_collide_are_refused_and_a_prefix_helps():
    """Two servers may offer the same name; no model is shown it twice."""

    @tool
    def orders() -> str:
        """Mine."""
        return ""

    async with MCPServer(SHOP) as server:
        with pytest.raises(BuildError, match="RL109 .* two tools called 'orders'"):
            HandoffBuilder(participants=[Agent("desk", tools=[orders, server])]).build()
    async with MCPServer(SHOP, prefix="shop_") as server:
        agent = Agent("desk", tools=[orders, server])
        HandoffBuilder(participants=[agent]).build()
        assert {each.name for each in agent.tools} >= {"orders", "shop_orders", "shop_refund_order"}
        assert await called(server, "shop_orders") == "A-1\nA-2"


async def test_a_server_that_is_not_connected_is_no_set_of_tools():
    """Nobody knows its tools yet, and the sentence says what to do."""
    with pytest.raises(BuildError, match=r"RL133 .*async with server.*connect\(\)"):
        Agent("desk", tools=[MCPServer("npx -y some-server --token secret")])
    with pytest.raises(BuildError, match="RL122 .*as_tool"):
        Agent("desk", tools=[Agent("other")])


@pytest.mark.parametrize("command", ["no-such-program --x", [sys.executable, "-c", ""], "http://127.0.0.1:9/mcp"])
async def test_a_server_that_cannot_be_had_is_told_clearly(command):
    """A command that is none, a program that is no server, an address nobody listens at."""
    with pytest.raises(
        ToolError, match="the MCP server '.*' cannot be used: (.*No such file|it ended before|.*attempts)"
    ):
        await MCPServer(command, timeout=10).connect()


async def test_a_server_that_says_nothing_is_given_up():
    """Connecting has a limit, and what was started is ended."""
    server = MCPServer([sys.executable, "-c", "import sys; sys.stdin.read()"], timeout=0.5)
    with pytest.raises(ToolError, match="did not answer within 0.5 seconds"):
        await server.connect()


def test_what_makes_no_sense_is_refused_at_once():
    """Nothing is started for it."""
    for args, options in ((("",), {}), (("x",), {"headers": {"a": "b"}}), (("http://x",), {"env": {"a": "b"}})):
        with pytest.raises(UsageError):
            MCPServer(*args, **options)
    assert "secret" not in repr(MCPServer("npx server --token secret"))
    assert repr(MCPServer("https://me:secret@host/mcp?key=secret")) == "MCPServer('https://host/mcp')"


async def test_the_environment_is_what_was_given(monkeypatch):
    """A server sees the secrets that are meant for it and no other."""
    monkeypatch.setenv("SHOP_OTHER", "not yours")
    async with MCPServer(SHOP, env={"SHOP_SECRET": "s"}) as server:
        assert await called(server, "secret") == "s None"


async def test_a_server_that_is_killed_in_a_call():
    """The call fails and says that its effect is not known; the next one finds a new process."""
    client = ScriptedClient(call("wait", seconds=60), "Sorry.")
    async with MCPServer(SHOP) as server:
        pid = int(await called(server, "process"))
        team = HandoffBuilder(participants=[client.as_agent("desk", tools=[server])]).build()
        async for event in team.run("Wait."):
            if event.type == "progress":  # the call has arrived
                os.kill(pid, signal.SIGKILL)
            elif event.type == "tool_result":
                assert event.data.outcome == "error"
                assert "whether the call took effect is not known" in event.data.content
        assert int(await called(server, "process")) != pid


async def test_a_call_that_may_be_repeated_is_repeated_once(tmp_path):
    """A read does not even notice that the server was lost."""
    async with MCPServer(SHOP) as server:
        assert await called(server, "crash_once", f'{{"marker": "{tmp_path / "gone"}"}}') == "here again"


async def test_a_call_that_takes_too_long():
    """It is given up after the timeout, and the connection stays."""
    async with MCPServer(SHOP, timeout=3) as server:
        pid = await called(server, "process")
        server._timeout = 0.2
        with pytest.raises(ToolError, match="did not answer within 0.2 seconds"):
            await called(server, "wait", '{"seconds": 60}')
        server._timeout = 3
        assert await called(server, "process") == pid


async def test_cancelling_reaches_the_server():
    """Who leaves the run ends the call, over there too."""
    before = shop.here["cancelled"]
    client = ScriptedClient(call("wait", seconds=60), "Sorry.")
    async with served() as (url, _):
        async with MCPServer(url) as server:
            team = HandoffBuilder(participants=[client.as_agent("desk", tools=[server])]).build()
            async for event in team.run("Wait."):
                if event.type == "progress":
                    break
            for _ in range(200):
                if shop.here["cancelled"] > before:
                    break
                await asyncio.sleep(0.01)
            assert await called(server, "orders") == "A-1\nA-2"
    assert shop.here["cancelled"] > before


def test_a_server_is_used_from_one_event_loop_after_another():
    """Its tools are asked for once; each loop has a connection of its own, which ends with it."""
    server = MCPServer(SHOP)
    asyncio.run(server.connect())
    team = [named(server, "process")]
    pids = [int(asyncio.run(each.call("{}", CONTEXT))) for each in team * 2]
    assert pids[0] != pids[1]
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_a_closed_server_opens_again():
    """What was let go of is there again when it is needed."""
    server = MCPServer(SHOP)
    async with server:
        first = await called(server, "process")
    await server.aclose()
    assert await called(server, "process") != first
    await server.aclose()


@pytest.mark.parametrize("way", ["command", "address"])
async def test_fifty_cycles_leave_nothing_behind(way):
    """No task, process, thread or file is left of a server that was let go."""

    def left():
        gc.collect()
        children = Path("/proc/self/task").glob("*/children")
        return (
            len(asyncio.all_tasks()),
            [pid for path in children for pid in path.read_text().split()],
            len(os.listdir("/proc/self/fd")),
        )

    if sys.platform != "linux":
        pytest.skip("there is no /proc to count in")
    async with served() as (url, _):
        server = MCPServer([sys.executable, "-c", QUICK] if way == "command" else url)
        async with server:  # what is only made once
            await called(server, "orders")
        await asyncio.sleep(0.05)
        before, threads = left(), threading.active_count()
        for _ in range(50):
            async with server:
                await called(server, "orders")
        for _ in range(100):
            if left() == before:
                break
            await asyncio.sleep(0.02)
        assert left() == before
        assert threading.active_count() <= threads
