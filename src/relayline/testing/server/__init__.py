"""A fake provider: the wires of OpenAI, Anthropic and Gemini over real HTTP on this machine."""

from relayline.testing.server.provider import FakeProvider, WireRequest
from relayline.testing.server.replies import Cut, Fail, Hang, Thinking, WireReply

__all__ = ["Cut", "Fail", "FakeProvider", "Hang", "Thinking", "WireReply", "WireRequest"]
