"""The loop between a person and a team, with neither terminal nor pipe."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import pytest
from inline_snapshot import snapshot

from relayline import (
    FunctionApprovalRequestContent,
    InMemoryCheckpointStorage,
    Message,
    SessionView,
    Workflow,
    WorkflowEvent,
)
from relayline.cli import conversation
from relayline.cli.conversation import Command, Conversation, Move, Opening, Person, Respond, Say, Screen
from relayline.durable.local import Local
from relayline.durable.worker import Worker
from relayline.events import Answered
from relayline.runtime.requests import InterruptedCallRequest
from relayline.testing import FakeClock
from tests.cli import people
from tests.cli.team import workflow

TEAM = workflow
YES = FunctionApprovalRequestContent.create_response(approved=True)


class Notes(Screen):
    """Writes down what it is given to show."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.told: list[str] = []
        self.problems: list[str] = []
        self.recapped: list[str] = []
        self.started = False

    def open(self, opening: Opening) -> None: ...

    def recap(self, messages: Sequence[Message]) -> None:
        self.recapped = [message.text for message in messages]

    def show(self, event: WorkflowEvent) -> None:
        if event.type == "message" and event.data.role == "assistant" and event.data.text:
            self.said.append(event.data.text)
        elif event.type in ("handoff_sent", "handed_back"):
            self.said.append(f"{event.data.source} -> {event.data.target}")
        elif event.type == "stopped":
            self.said.append(f"stopped: {event.data.budget}")

    def tell(self, text: str) -> None:
        self.told.append(text)

    def problem(self, text: str) -> None:
        self.problems.append(text)

    def close(self, opening: Opening, *, started: bool) -> None:
        self.started = started


class Actor(Person):
    """Makes these moves. ``stop_at``: in the turn that follows as many moves, they do not wait for its end."""

    def __init__(self, *moves: Move, patient: bool = True, stop_at: int = 0) -> None:
        self.patient = patient
        self.asked: list[object] = []
        self.refused: list[str] = []
        self._moves = list(moves)
        self._made = 0
        self._stop_at = stop_at

    async def say(self) -> Move:
        self._made += 1
        return self._moves.pop(0) if self._moves else None

    async def decide(self, request: WorkflowEvent, problem: str) -> Move:
        self.asked.append(request.data)
        if problem:
            self.refused.append(problem)
        return await self.say()

    async def take_turn(self, request: WorkflowEvent, colleagues: Sequence[str], problem: str) -> Move:
        assert colleagues == ["triage", "back office"]
        return await self.decide(request, problem)

    @contextmanager
    def waiting(self, stop: Callable[[], object]) -> Iterator[None]:
        if self._made == self._stop_at:
            asyncio.get_running_loop().call_later(0.05, stop)
        yield


async def commands(name: str, view: SessionView | None) -> str:
    return f"/{name} of {view.session_id if view else 'nothing'}"


async def talk(
    actor: Actor, store: InMemoryCheckpointStorage, team: Workflow = TEAM, who: str = ""
) -> tuple[Notes, Conversation]:
    notes = Notes()
    opening = Opening(team.with_store(store), "a script", "s", True, "come back", who)
    conversation = Conversation(opening, notes, actor, commands)
    await conversation.hold()
    return notes, conversation


def store() -> InMemoryCheckpointStorage:
    return InMemoryCheckpointStorage()


async def test_an_approval_is_put_and_carried_out():
    """A gated call is put to the person, and runs once they agree."""
    actor = Actor(Say("where is my order?"), Say("money"), Respond(YES))
    notes, conversation = await talk(actor, store())
    assert notes.said[-1] == "So: 5.00 EUR paid back for A-1."
    assert [type(each).__name__ for each in actor.asked] == ["FunctionApprovalRequestContent"]
    assert notes.started
    assert not conversation.failed


async def test_edited_arguments_that_do_not_fit_are_asked_for_again():
    """An answer the tool cannot take keeps the request open, and the person is told why."""
    bad = FunctionApprovalRequestContent.create_response(approved=True, arguments={"number": "A-1", "amount": "lots"})
    good = FunctionApprovalRequestContent.create_response(approved=True, arguments={"number": "A-1", "amount": 2})
    actor = Actor(Say("order"), Say("money"), Respond(bad), Respond(good))
    notes, _ = await talk(actor, store())
    assert "'amount'" in actor.refused[0]
    assert notes.said[-1] == "So: 2.00 EUR paid back for A-1."


async def test_what_was_open_is_put_again_when_the_session_is_taken_up():
    """Coming back shows the last messages and puts the open request once more."""
    kept = store()
    await talk(Actor(Say("order"), Say("money")), kept)
    actor = Actor(Respond(YES))
    notes, _ = await talk(actor, kept)
    assert notes.recapped[-1] == "money"
    assert len(actor.asked) == 1
    assert notes.said == ["So: 5.00 EUR paid back for A-1."]


async def test_a_recap_begins_with_the_user():
    """Of a long conversation the last few messages are shown, from one of the user's on."""
    kept = store()
    await talk(Actor(*[Say("hello" + "!" * number) for number in range(9)]), kept)
    notes, _ = await talk(Actor(), kept)
    assert len(notes.recapped) == 6
    assert notes.recapped[0] == "hello!!!!!!"


async def test_a_turn_can_be_stopped_and_gone_on_with():
    """Who does not want to wait stops the turn; /retry asks what became of the call that was cut off."""
    told = InterruptedCallRequest.create_response("42 sheep")
    actor = Actor(Say("sleep"), Command("retry"), Respond(told), stop_at=1)
    notes, _ = await talk(actor, store())
    assert "Stopped" in notes.told[0]
    assert [type(each).__name__ for each in actor.asked] == ["InterruptedCallRequest"]
    assert notes.said[-1] == "So: 42 sheep"


async def test_an_interrupted_turn_goes_on_by_itself():
    """Taking up a session that was cut off asks at once what became of its call."""
    kept = store()
    await talk(Actor(Say("sleep"), stop_at=1), kept)
    actor = Actor(Respond(InterruptedCallRequest.create_response("42 sheep")))
    notes, _ = await talk(actor, kept)
    assert notes.said == ["So: 42 sheep"]


async def test_words_that_no_worker_takes_up_are_not_waited_for_in_silence(monkeypatch: pytest.MonkeyPatch):
    """Who talks with a fleet is told how to start a worker, once; and has the answer when one is there."""
    monkeypatch.setattr(conversation, "PATIENCE", 0.05)
    team = TEAM.with_store(store()).with_dispatcher(Local())
    notes, working = Notes(), list[asyncio.Task[None]]()

    def tell(text: str) -> None:
        notes.told.append(text)
        working.append(asyncio.create_task(Worker(team).serve()))

    monkeypatch.setattr(notes, "tell", tell)
    opening = Opening(team, "a script", "s", True, "come back", worker="relayline worker team.py --engine local")
    await Conversation(opening, notes, Actor(Say("hello")), commands).hold()
    working[0].cancel()
    assert notes.told == ["No worker has taken this up yet; it waits for one: relayline worker team.py --engine local"]
    assert notes.said == ["You said 5 characters."]


async def test_a_failed_model_call_says_how_to_go_on():
    """The sentence of the error names /retry; what is said next works as ever."""
    notes, conversation = await talk(Actor(Say("fail"), Command("retry"), Say("hello")), store())
    assert all("the line is dead" in each and "/retry" in each for each in notes.problems)
    assert len(notes.problems) == 2
    assert notes.said == ["You said 5 characters."]
    assert conversation.failed


async def test_who_cannot_retry_does_not_stay():
    """In a pipe the first failure is the end: what follows was written for another course of events."""
    notes, conversation = await talk(Actor(Say("fail"), Say("hello"), patient=False), store())
    assert notes.said == []
    assert conversation.failed


async def test_an_answer_that_comes_too_late():
    """A request that somebody else answered is gone, which is said, and the conversation goes on."""
    kept = store()
    await talk(Actor(Say("order"), Say("money")), kept)

    class Late(Actor):
        async def decide(self, request: WorkflowEvent, problem: str) -> Move:
            await TEAM.with_store(kept).run(responses={request.request_id: False})
            return await super().decide(request, problem)

    notes, _ = await talk(Late(Respond(YES), Say("hello")), kept)
    assert "not waiting for an answer" in notes.problems[0]
    assert notes.said == ["You said 5 characters."]


async def test_retry_with_nothing_to_retry():
    """/retry says so when there is nothing to try again, before the session has begun and after."""
    notes, _ = await talk(Actor(Command("retry"), Say("hello"), Command("retry"), Command("graph")), store())
    assert [each.partition(":")[0] for each in notes.told] == [
        "There is nothing to try again yet",
        "There is nothing to try again",
        "/graph of s",
    ]


async def test_leaving_before_saying_anything_leaves_nothing():
    """A session that was never begun is not kept."""
    kept = store()
    notes, _ = await talk(Actor(Command("quit")), kept)
    assert not notes.started
    assert await kept.sessions() == []


# A person of the team


@pytest.mark.parametrize(
    ("move", "said"),
    [
        (Say("I decide."), snapshot(["I decide."])),
        (
            Command("back", "Signed."),
            snapshot(["Signed.", "jo -> triage", "triage heard: [jo] is done and gives the conversation back to you."]),
        ),
        (
            Command("back"),
            snapshot(["jo -> triage", "triage heard: [jo] is done and gives the conversation back to you."]),
        ),
        (
            Command("handoff", "back office"),
            snapshot(["jo -> back office", "back office heard: [jo] handed the conversation over to you."]),
        ),
        (
            Command("handoff", "back office  file it"),
            snapshot(["file it", "jo -> back office", "back office heard: [jo] handed the conversation over to you."]),
        ),
    ],
)
async def test_whoever_is_here_plays_the_person_too(move: Move, said: list[str]):
    """On their turn words are theirs, and a command hands over, to a name with a space in it as well, or back."""
    notes, conversation = await talk(Actor(Say("a person, please"), move), store(), people.workflow)
    assert notes.said[0] == "triage -> jo"
    assert notes.said[1:] == said
    assert not conversation.failed


@pytest.mark.parametrize(
    ("move", "why"),
    [
        (Command("handoff"), snapshot("type /handoff and a name; jo may hand over to: triage, back office")),
        (
            Command("handoff", "nobody"),
            snapshot("no handoff from 'jo' to 'nobody'; declared: 'triage', 'back office'; the request stays open"),
        ),
        (
            Command("handoff", "back officers"),
            snapshot("no handoff from 'jo' to 'back'; declared: 'triage', 'back office'; the request stays open"),
        ),
        (Say(" "), snapshot("the reply is empty; say something, hand over, or hand back")),
    ],
)
async def test_what_cannot_be_done_with_a_turn(move: Move, why: str):
    """It is said why, and the turn is still theirs."""
    actor = Actor(Say("a person, please"), move, Say("I decide."))
    notes, _ = await talk(actor, store(), people.workflow)
    assert actor.refused == [why]
    assert notes.said == ["triage -> jo", "I decide."]


async def test_commands_work_on_a_persons_turn():
    """The others say what they always say; leaving leaves the turn open."""
    kept = store()
    notes, _ = await talk(Actor(Say("a person, please"), Command("state"), Command("quit")), kept, people.workflow)
    assert notes.told == ["/state of s"]
    actor = Actor(Command("back"))
    notes, _ = await talk(actor, kept, people.workflow)
    assert len(actor.asked) == 1
    assert notes.said[0] == "jo -> triage"


async def test_a_decision_has_the_name_of_who_took_it():
    """Whoever sits there is on record, for an approval and for an interrupted call; not for words."""
    for moves in (
        [Say("order"), Say("money"), Respond(YES)],
        [Say("sleep"), Command("retry"), Respond(InterruptedCallRequest.create_response("42 sheep"))],
    ):
        kept = store()
        await talk(Actor(*moves, stop_at=1 if len(moves) == 3 and moves[0] == Say("sleep") else 0), kept, who="ann")
        by = [entry.fact.by for entry in await kept.read("s") if isinstance(entry.fact, Answered)]
        assert by[-1:] == ["ann"]


async def test_a_turn_whose_time_is_over():
    """Who answers too late is told so, and what follows from that happens at once instead of asking for ever."""
    clock = FakeClock()

    class Slow(Actor):
        async def take_turn(self, request: WorkflowEvent, colleagues: Sequence[str], problem: str) -> Move:
            clock.advance(timedelta(hours=2))
            return await super().take_turn(request, colleagues, problem)

    team = people.people().with_request_expiry(people=3600).build()
    notes, _ = await talk(Slow(Say("a person, please"), Say("I decide.")), InMemoryCheckpointStorage(clock), team)
    assert "the time to answer" in notes.problems[0]
    assert notes.said == snapshot(
        [
            "triage -> jo",
            "jo -> triage",
            "triage heard: [jo] gives the conversation back to you. Nobody answered in time.",
        ]
    )


# Budgets


async def test_a_budget_runs_out_and_the_team_goes_on():
    """It is shown; /continue goes on with as much again, and so does a message."""
    moves = Say("a person, please"), Command("back"), Command("continue")
    notes, conversation = await talk(Actor(*moves), store(), people.short)
    assert notes.said == snapshot(
        [
            "triage -> jo",
            "jo -> triage",
            "stopped: turns",
            "triage heard: [jo] is done and gives the conversation back to you.",
        ]
    )
    assert not conversation.failed
    notes, _ = await talk(Actor(*moves[:2], Say("well")), store(), people.short)
    assert notes.said[-1] == "You said 4 characters."


async def test_a_session_without_budget_is_not_gone_on_with_unasked():
    """Who takes it up again is shown that it was stopped, and decides."""
    kept = store()
    await talk(Actor(Say("a person, please"), Command("back")), kept, people.short)
    notes, _ = await talk(Actor(), kept, people.short)
    assert notes.said == ["stopped: turns"]
    notes, _ = await talk(Actor(Command("continue")), kept, people.short)
    assert len(notes.said) == 2
