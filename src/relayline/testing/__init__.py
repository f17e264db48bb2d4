"""A test kit for teams and for stores: models that follow a script, strict stand-ins, and what every store must keep.

::

    client = ScriptedClient({
        "triage": [handoff_to("orders", reason="wants a refund")],
        "orders": [call("look_up", order=7), "Order 7 is on its way."],
    })
    result = await workflow.with_client(client).run("Where is order 7?")
    client.assert_done()

`FakeProvider` is the same for real SDKs, over HTTP on this machine. Nothing here needs a network, a key or a sleep. It
works under any test runner.
"""

from relayline.testing.client import Reply, ScriptedClient, call, handoff_to
from relayline.testing.fakes import Crash, CrashingStore, FakeClock, crash_at
from relayline.testing.inboxes import check_inbox
from relayline.testing.journals import assert_replays, read_recorded, record
from relayline.testing.providers import PROVIDERS, Provider, check_everywhere
from relayline.testing.requests import check_messages, check_request
from relayline.testing.server import Cassette, Cut, Fail, FakeProvider, Hang, Thinking, WireReply, WireRequest
from relayline.testing.stores import check_store

__all__ = [
    "PROVIDERS",
    "Cassette",
    "Crash",
    "CrashingStore",
    "Cut",
    "Fail",
    "FakeClock",
    "FakeProvider",
    "Hang",
    "Provider",
    "Reply",
    "ScriptedClient",
    "Thinking",
    "WireReply",
    "WireRequest",
    "assert_replays",
    "call",
    "check_everywhere",
    "check_inbox",
    "check_messages",
    "check_request",
    "check_store",
    "crash_at",
    "handoff_to",
    "read_recorded",
    "record",
]
