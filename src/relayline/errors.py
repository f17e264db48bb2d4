"""Everything relayline raises on purpose.

::

    RelaylineError
    ├── UsageError                the call was wrong; nothing was changed
    │   ├── BuildError            the team cannot be built as declared
    │   ├── SessionNotFound       no such session in this store
    │   ├── RequestNotOpen        an answer to a request that is unknown, answered or withdrawn
    │   ├── SessionHeld           the session is under a legal hold, and was to be deleted or shortened
    │   ├── SessionBusy           the session is at work, and the team takes no message meanwhile
    │   ├── UpgradeRefused        the session was begun with another team, and this one does not go on with it
    │   └── RunClosed             the result of a run that was closed before it had one
    └── WorldError                the call was right, the world was not; a retry is possible
        ├── ModelError            a chat client failed
        │   └── ProviderError     a model's provider refused the request, or could not be reached
        ├── ToolError             a tool, or the server it lives on, said that it failed
        ├── ExecutorError         a function that is a participant failed
        ├── ConditionError        a termination condition or a handoff's predicate failed
        ├── DispatchError         whoever dispatches turns to workers could not be reached
        └── StoreError            the journal could not be read or written
            ├── SequenceConflict  somebody else wrote to this session first
            └── DamagedJournal    the journal holds something this version cannot read
    MissingExtra                  an optional part is not installed (also an ImportError)

No exception of a library beneath us escapes except as ``__cause__``. Anything else you see is a bug: please report it.
"""

from collections.abc import Sequence


class RelaylineError(Exception):
    """The root. Catch it to catch everything relayline raises on purpose."""


class UsageError(RelaylineError, ValueError):
    """The call was wrong: the message names the thing, what was allowed and what to do. Nothing was changed."""


class BuildError(UsageError):
    """The team cannot be built as declared. ``problems``: every one found, in declaration order."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class SessionNotFound(UsageError):
    """There is no session of that id in this store, and the call did not bring a message to start one."""


class RequestNotOpen(UsageError):
    """An answer came for a request that is not waiting for one: unknown, answered, withdrawn, or out of time."""


class SessionHeld(UsageError):
    """The session must be kept as it is: lift the hold first, ``await store.hold(session_id, "")``."""


class SessionBusy(UsageError):
    """The session is at work on something else, and its team takes nothing meanwhile. Nothing was changed."""


class UpgradeRefused(UsageError):
    """The session was begun with another team, and this one takes no such sessions. ``differences``: every one, in
    sentences; empty, if the journal is too old to tell.
    """

    def __init__(self, message: str, differences: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.differences = tuple(differences)


class RunClosed(UsageError):
    """The run was closed before it ended, so it has no result. The session is whole; run it again to go on."""


class WorldError(RelaylineError):
    """Something outside failed. The session stands at its last committed fact; run it again to retry."""


class ModelError(WorldError):
    """A chat client raised. ``agent`` is the one it spoke for."""

    def __init__(self, message: str, agent: str = "") -> None:
        super().__init__(message)
        self.agent = agent


class ProviderError(ModelError):
    """A model's provider refused the request, or could not be reached; its own exception is the cause.

    ``status``: of its HTTP answer, None if there was none. ``retry_after``: the seconds it asks to wait, if it does.
    """

    def __init__(self, message: str, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class ToolError(WorldError):
    """A tool said that it failed, or the server it lives on could not be reached.

    Raised in a tool call it does not end the run: its text is the result that the model is shown.
    """


class ExecutorError(WorldError):
    """A function that is a participant raised. ``executor`` is its name; the exception is the cause."""

    def __init__(self, message: str, executor: str = "") -> None:
        super().__init__(message)
        self.executor = executor


class ConditionError(WorldError):
    """A termination condition, or the predicate of a handoff, raised instead of answering."""


class StoreError(WorldError):
    """The journal could not be read or written. What was shown before is on record; nothing after it is."""


class DispatchError(WorldError):
    """Whoever dispatches turns to workers could not be reached. What was submitted is in the store all the same."""


class SequenceConflict(StoreError):
    """Somebody else appended to this session first. Nothing was written; run again to continue from what they wrote."""


class DamagedJournal(StoreError):
    """The journal holds something this version of relayline cannot read. Nothing was changed."""


class MissingExtra(RelaylineError, ImportError):
    """An optional part was used without its extra; the message has the line to type."""
