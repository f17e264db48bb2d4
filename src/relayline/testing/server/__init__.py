"""A fake provider, and a real one on file: the wires of OpenAI, Anthropic and Gemini over HTTP on this machine."""

from relayline.testing.server.cassette import Cassette
from relayline.testing.server.provider import FakeProvider, WireRequest
from relayline.testing.server.replies import Cut, Fail, Hang, Thinking, WireReply

__all__ = ["Cassette", "Cut", "Fail", "FakeProvider", "Hang", "Thinking", "WireReply", "WireRequest"]
