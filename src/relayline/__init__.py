"""Handoff orchestration: agents decide who takes the conversation next, one journal keeps all of it."""

from relayline.agent import Agent, ChatClient, ChatRequest, HumanAgent, Participant, ReplyInfo, ToolSpec
from relayline.builders import HandoffBuilder
from relayline.context import ToolContext
from relayline.errors import (
    BuildError,
    ConditionError,
    DamagedJournal,
    MissingExtra,
    ModelError,
    ProviderError,
    RelaylineError,
    RequestNotOpen,
    RunClosed,
    SequenceConflict,
    SessionNotFound,
    StoreError,
    ToolError,
    UsageError,
    WorldError,
)
from relayline.events import HandoffSent, Stopped
from relayline.journal.checkpoints import Checkpoint
from relayline.journal.store import InMemoryCheckpointStorage
from relayline.loading import load
from relayline.messages import Media, Message, Text, ToolCall, ToolResult
from relayline.runtime.requests import (
    AgentResponse,
    FunctionApprovalRequestContent,
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

__all__ = [
    "Agent",
    "AgentResponse",
    "AgentRunUpdateEvent",
    "BuildError",
    "ChatClient",
    "ChatRequest",
    "Checkpoint",
    "ConditionError",
    "DamagedJournal",
    "ExecutorCompletedEvent",
    "ExecutorFailedEvent",
    "ExecutorInvokedEvent",
    "FunctionApprovalRequestContent",
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
    "SessionNotFound",
    "SessionView",
    "Stopped",
    "StoreError",
    "Text",
    "Tool",
    "ToolCall",
    "ToolContext",
    "ToolError",
    "ToolResult",
    "ToolSpec",
    "UsageError",
    "Workflow",
    "WorkflowEvent",
    "WorkflowFailedEvent",
    "WorkflowOutputEvent",
    "WorkflowRunState",
    "WorkflowStartedEvent",
    "WorkflowStatusEvent",
    "WorldError",
    "load",
    "tool",
]
