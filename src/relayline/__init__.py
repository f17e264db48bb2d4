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
    UsageError,
    WorldError,
)
from relayline.events import HandoffSent, Stopped
from relayline.journal.store import InMemoryCheckpointStorage
from relayline.messages import Message, Text, ToolCall, ToolResult
from relayline.runtime.requests import (
    AgentResponse,
    FunctionApprovalRequestContent,
    HandoffAgentUserRequest,
    HumanTurnRequest,
    InterruptedCallRequest,
)
from relayline.runtime.run import Run
from relayline.runtime.stream import RunResult, WorkflowEvent, WorkflowRunState
from relayline.tools import Tool, tool
from relayline.workflow import SessionView, Workflow

__all__ = [
    "Agent",
    "AgentResponse",
    "BuildError",
    "ChatClient",
    "ChatRequest",
    "ConditionError",
    "DamagedJournal",
    "FunctionApprovalRequestContent",
    "HandoffAgentUserRequest",
    "HandoffBuilder",
    "HandoffSent",
    "HumanAgent",
    "HumanTurnRequest",
    "InMemoryCheckpointStorage",
    "InterruptedCallRequest",
    "Message",
    "MissingExtra",
    "ModelError",
    "Participant",
    "ProviderError",
    "RelaylineError",
    "ReplyInfo",
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
    "ToolResult",
    "ToolSpec",
    "UsageError",
    "Workflow",
    "WorkflowEvent",
    "WorkflowRunState",
    "WorldError",
    "tool",
]
