"""An MCP server to test with: over stdio as a program, over HTTP in a test's own process."""

import asyncio
import os

from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import BaseModel

server = MCPServer("shop", log_level="ERROR")
READS = ToolAnnotations(read_only_hint=True)
here = {"calls": 0, "cancelled": 0}


class Order(BaseModel):
    number: str
    total: int


@server.tool(annotations=READS)
def find_order(number: str) -> Order:
    """Find an order by its number."""
    here["calls"] += 1
    return Order(number=number, total=42)


@server.tool(name="refund.order", annotations=ToolAnnotations(read_only_hint=False))
def refund(number: str, amount: int) -> str:
    """Pay money back."""
    return f"paid {amount} back for {number}"


@server.tool()
def fail(why: str) -> str:
    """Fail."""
    raise ToolError(f"no: {why}")


@server.tool(structured_output=False)
def picture() -> Image:
    """Draw."""
    return Image(data=b"png", format="png")


@server.tool()
def orders() -> list[str]:
    """List all."""
    return ["A-1", "A-2"]


@server.tool()
async def wait(seconds: float, context: Context) -> str:
    """Wait."""
    await context.report_progress(1, 2, "half")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        here["cancelled"] += 1
        raise
    return "waited"


@server.tool(annotations=READS)
def crash_once(marker: str) -> str:
    """End the whole server, the first time."""
    if not os.path.exists(marker):
        open(marker, "w").close()
        os._exit(9)
    return "here again"


@server.tool(annotations=READS)
def process() -> str:
    """Say which process this is."""
    return str(os.getpid())


@server.tool(annotations=READS)
def secret() -> str:
    """Tell what is in the environment."""
    return f"{os.environ.get('SHOP_SECRET')} {os.environ.get('SHOP_OTHER')}"


if __name__ == "__main__":
    server.run()
