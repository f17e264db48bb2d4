"""Handoff orchestration: agents decide who takes the conversation next, one journal keeps all of it."""

import importlib
from typing import TYPE_CHECKING

from relayline.agent import Agent, ChatClient, ChatRequest, HumanAgent, Participant, ReplyInfo, ToolSpec
from relayline.builders import HandoffBuilder
from relayline.context import ToolContext
from relayline.errors import (
    BuildError,
    ConditionError,
    DamagedJournal,
    DispatchError,
    ExecutorError,
    MissingExtra,
    ModelError,
    ProviderError,
    RelaylineError,
    RequestNotOpen,
    RunClosed,
    SequenceConflict,
    SessionBusy,
    SessionHeld,
    SessionNotFound,
    StoreError,
    ToolError,
    UpgradeRefused,
    UsageError,
    WorldError,
)
from relayline.events import HandoffSent, Stopped
from relayline.executors import Executor, ExecutorContext, executor
from relayline.journal.checkpoints import Checkpoint
from relayline.journal.store import InMemoryCheckpointStorage
from relayline.loading import load
from relayline.messages import Media, Message, Text, ToolCall, ToolResult
from relayline.reconcile import NOT_DONE, NotDone
from relayline.runtime.requests import (
    AgentResponse,
    AgentReviewRequest,
    FunctionApprovalRequestContent,
    FunctionInfoRequest,
    HandoffAgentUserRequest,
    HumanTurnRequest,
    InterruptedCallRequest,
)
from relayline.runtime.run import Run
from relayline.runtime.stream import (
    AgentRunUpdateEvent,
    ExecutorCompletedEvent,
    ExecutorFailedEvent,
    ExecutorInvokedEvent,
    HandoffSentEvent,
    RequestInfoEvent,
    RunResult,
    WorkflowEvent,
    WorkflowFailedEvent,
    WorkflowOutputEvent,
    WorkflowRunState,
    WorkflowStartedEvent,
    WorkflowStatusEvent,
)
from relayline.tools import Tool, tool
from relayline.workflow import SessionView, Workflow

if TYPE_CHECKING:
    from relayline.graphs import Case, Default, WorkflowBuilder
    from relayline.groupchat import GroupChatBuilder, GroupChatState
    from relayline.journal.file import FileCheckpointStorage
    from relayline.journal.sqlite import SqliteCheckpointStorage
    from relayline.pipelines import ConcurrentBuilder, SequentialBuilder

__all__ = [
    "NOT_DONE",
    "Agent",
    "AgentResponse",
    "AgentReviewRequest",
    "AgentRunUpdateEvent",
    "BuildError",
    "Case",
    "ChatClient",
    "ChatRequest",
    "Checkpoint",
    "ConcurrentBuilder",
    "ConditionError",
    "DamagedJournal",
    "Default",
    "DispatchError",
    "Executor",
    "ExecutorCompletedEvent",
    "ExecutorContext",
    "ExecutorError",
    "ExecutorFailedEvent",
    "ExecutorInvokedEvent",
    "FileCheckpointStorage",
    "FunctionApprovalRequestContent",
    "FunctionInfoRequest",
    "GroupChatBuilder",
    "GroupChatState",
    "HandoffAgentUserRequest",
    "HandoffBuilder",
    "HandoffSent",
    "HandoffSentEvent",
    "HumanAgent",
    "HumanTurnRequest",
    "InMemoryCheckpointStorage",
    "InterruptedCallRequest",
    "Media",
    "Message",
    "MissingExtra",
    "ModelError",
    "NotDone",
    "Participant",
    "ProviderError",
    "RelaylineError",
    "ReplyInfo",
    "RequestInfoEvent",
    "RequestNotOpen",
    "Run",
    "RunClosed",
    "RunResult",
    "SequenceConflict",
    "SequentialBuilder",
    "SessionBusy",
    "SessionHeld",
    "SessionNotFound",
    "SessionView",
    "SqliteCheckpointStorage",
    "Stopped",
    "StoreError",
    "Text",
    "Tool",
    "ToolCall",
    "ToolContext",
    "ToolError",
    "ToolResult",
    "ToolSpec",
    "UpgradeRefused",
    "UsageError",
    "Workflow",
    "WorkflowBuilder",
    "WorkflowEvent",
    "WorkflowFailedEvent",
    "WorkflowOutputEvent",
    "WorkflowRunState",
    "WorkflowStartedEvent",
    "WorkflowStatusEvent",
    "WorldError",
    "executor",
    "load",
    "tool",
]

_LATE = {
    "Case": "relayline.graphs",
    "ConcurrentBuilder": "relayline.pipelines",
    "Default": "relayline.graphs",
    "FileCheckpointStorage": "relayline.journal.file",
    "GroupChatBuilder": "relayline.groupchat",
    "GroupChatState": "relayline.groupchat",
    "SequentialBuilder": "relayline.pipelines",
    "SqliteCheckpointStorage": "relayline.journal.sqlite",
    "WorkflowBuilder": "relayline.graphs",
}
"""Loaded when they are asked for: who keeps all in memory pays for no disk, and a desk of agents for no graph."""


def __getattr__(name: str) -> object:
    if name not in _LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LATE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATE} - {"TYPE_CHECKING", "importlib"})
