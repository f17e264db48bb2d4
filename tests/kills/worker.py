"""A process to be killed: it takes up what the store holds, and begins new conversations until it is told to stop.

``python -m tests.kills.worker STORE FOLDER NAME``: its sessions are those that begin with NAME. It ends by itself once
there is a file FOLDER/stop and all of them are over.
"""

import asyncio
import itertools
import sys
from pathlib import Path
from typing import Any

from relayline import (
    FunctionApprovalRequestContent,
    InterruptedCallRequest,
    RequestInfoEvent,
    SessionNotFound,
    Workflow,
    WorkflowRunState,
)
from relayline.journal.opening import open_store
from tests.kills.desk import TURNS, Ledger, team

AT_ONCE = 4
"""How many conversations a worker has at once."""


async def main(where: str, folder: Path, name: str) -> None:
    store = open_store(where)
    workflow = team(store, folder)
    numbers = itertools.count()
    begun = {each.session_id for each in await store.sessions()}

    async def take() -> None:
        for number in numbers:
            session_id = f"{name}{number}"
            if (folder / "stop").exists() and session_id not in begun:
                return
            await converse(workflow, session_id, Ledger(folder))

    print("ready", flush=True)
    await asyncio.gather(*(take() for _ in range(AT_ONCE)))
    await store.aclose()


async def converse(workflow: Workflow, session_id: str, ledger: Ledger) -> None:
    """Play the user and whoever approves, until the session is over, wherever it stands."""
    while True:
        try:
            view = await workflow.session(session_id)
        except SessionNotFound:
            await workflow.run("Message 1.", session_id=session_id)
            continue
        said = sum(message.role == "user" for message in view.conversation)
        if view.state is not WorkflowRunState.IDLE_WITH_PENDING_REQUESTS:
            await workflow.run(session_id=session_id)
        elif any(
            isinstance(each.data, FunctionApprovalRequestContent | InterruptedCallRequest) for each in view.requests
        ):
            request = view.requests[0]
            await workflow.run(responses={request.request_id: _decide(request, session_id, ledger)})
        elif said == TURNS:
            return
        else:
            await workflow.run(responses={view.requests[0].request_id: f"Message {said + 1}."})


def _decide(request: RequestInfoEvent, session_id: str, ledger: Ledger) -> Any:
    """Approve what waits; of what was cut off find out whether it took effect, as a person would."""
    if isinstance(request.data, FunctionApprovalRequestContent):
        return True
    call = request.data.function_call
    key = f"{session_id}/{call.id}"
    if ("took-effect", key) in ledger.lines():
        turn = call.parse_arguments()["turn"]
        return f"{'sent' if call.name == 'send' else 'refunded'} {turn}"
    ledger.note("run-again", key)
    return request.data.run_again()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2]), sys.argv[3]))
