"""The rules, one by one, on the smallest conversations that show them."""

import pytest
from inline_snapshot import snapshot

from relayline.errors import RequestNotOpen, UsageError
from relayline.events import Asked, Fact, Failed, Finished, HandoffSent, Replied, ToolReturned, ToolStarted, TurnStarted
from relayline.machine.decide import Machine
from relayline.machine.effects import CallModel, Judge, RunTool, effects
from relayline.machine.inputs import (
    Answer,
    Approval,
    EffectFailed,
    Input,
    Judged,
    ModelReplied,
    OutcomeTold,
    Resumed,
    Terminate,
    ToolDone,
    UserSaid,
    Words,
)
from relayline.machine.patterns import Handoff
from relayline.machine.state import State
from relayline.machine.topology import Edge, ToolPolicy
from relayline.messages import Text, ToolCall, ToolResult, user

EDGES = (Edge("triage", "orders"), Edge("triage", "refunds"), Edge("orders", "triage"))
POLICIES = {
    "triage": {"look": ToolPolicy(repeatable=True), "send": ToolPolicy(), "pay": ToolPolicy(approval=True)},
    "orders": {},
    "refunds": {},
}


class Talk:
    """A conversation with a team whose `refunds` is terminal."""

    def __init__(self, *, condition: bool = False, return_to_previous: bool = True) -> None:
        pattern = Handoff("triage", ("triage", "orders", "refunds"), EDGES, return_to_previous)
        self.machine = Machine("team", pattern, POLICIES, "f", condition)
        self.state = State()

    def put(self, given: Input) -> list[Fact]:
        decision = self.machine.decide(self.state, given)
        self.state = decision.state
        return decision.facts

    def say(self, text: str = "hi") -> list[Fact]:
        return self.put(UserSaid(user(text)))

    def reply(self, *parts: str | tuple[str, str], problems: dict[int, str] | None = None) -> list[Fact]:
        """A reply of the model that is called now: words, and calls as (name, arguments)."""
        [effect] = [each for each in effects(self.state) if isinstance(each, CallModel)]
        shown = [Text(p) if isinstance(p, str) else ToolCall(f"c{n}", *p) for n, p in enumerate(parts)]
        return self.put(ModelReplied(effect.id, tuple(shown), problems or {}))

    def results(self) -> dict[str, tuple[str, str]]:
        """Outcome and content per tool, of the last results in the transcript."""
        found = next(m for m in reversed(self.state.transcript) if m.role == "tool")
        return {each.name: (each.outcome, each.content) for each in found.tool_results}

    @property
    def waiting(self) -> str:
        return next(iter(self.state.requests))


def kinds(facts: list[Fact]) -> list[str]:
    return [fact.type for fact in facts]


def test_a_first_message_starts_the_session_and_the_start_agents_turn() -> None:
    """The journal begins with the session, the user's words and a turn; the model is wanted."""
    talk = Talk()
    assert kinds(talk.say()) == snapshot(["session_started", "user_spoke", "turn_started"])
    assert effects(talk.state) == [CallModel("t1-s1", 1, "triage")]


def test_an_agent_that_hands_over_to_nobody_asks_the_user() -> None:
    """Words alone end the turn, and the conversation waits for the user."""
    talk = Talk()
    talk.say()
    assert kinds(talk.reply("Hello.")) == snapshot(["replied", "turn_ended", "asked"])
    assert effects(talk.state) == []


def test_a_handoff_ends_one_turn_and_starts_the_next() -> None:
    """The call gets its result, the edge is recorded with the model's reason, and the target's model is wanted."""
    talk = Talk()
    talk.say()
    facts = talk.reply("One moment.", ("handoff_to_orders", '{"reason": "late parcel"}'))
    assert kinds(facts) == snapshot(["replied", "tool_returned", "turn_ended", "handoff_sent", "turn_started"])
    assert HandoffSent(1, "triage", "orders", "late parcel") in facts
    assert effects(talk.state) == [CallModel("t2-s1", 2, "orders")]


def test_calls_beside_a_handoff_run_first_and_a_person_decides_first() -> None:
    """A reply with a plain call, a gated call and two handoffs: calls run, the gate settles, then the first handoff."""
    talk = Talk()
    talk.say()
    facts = talk.reply(("handoff_to_refunds", "{}"), ("look", "{}"), ("handoff_to_orders", "{}"), ("pay", "{}"))
    assert kinds(facts) == snapshot(["replied", "tool_started", "asked"])
    assert [each.id for each in effects(talk.state)] == ["t1-s1-c1"]
    assert kinds(talk.put(ToolDone("t1-s1-c1", "seen"))) == snapshot(["tool_returned"])
    assert effects(talk.state) == []
    facts = talk.put(Answer(talk.waiting, Approval(approved=False, reason="too much")))
    assert HandoffSent(1, "triage", "refunds") in facts
    assert talk.results() == snapshot(
        {
            "handoff_to_refunds": ("transferred", "Transferred to refunds."),
            "look": ("done", "seen"),
            "handoff_to_orders": ("not_taken", "Not taken: the conversation went to refunds."),
            "pay": ("refused", "Not run: a person refused it. Reason: too much"),
        }
    )


def test_what_cannot_be_called_becomes_a_result_the_model_can_repair() -> None:
    """Unknown tools, undeclared handoffs, bad arguments and repeated ids are told to the model, which is asked again."""
    talk = Talk()
    talk.say()
    facts = talk.reply(
        ("teleport", "{}"), ("handoff_to_fraud", "{}"), ("handoff_to_orders", "[1"), ("look", "{}"), problems={3: "No."}
    )
    assert not [fact for fact in facts if isinstance(fact, HandoffSent)]
    assert talk.results() == snapshot(
        {
            "teleport": (
                "error",
                "Not run: 'triage' has no tool 'teleport'; it has: look, send, pay, handoff_to_orders, handoff_to_refunds.",
            ),
            "handoff_to_fraud": (
                "error",
                "Not taken: no handoff 'handoff_to_fraud' from 'triage'; declared: handoff_to_orders, handoff_to_refunds.",
            ),
            "handoff_to_orders": (
                "error",
                "Not taken: Expecting ',' delimiter: line 1 column 3 (char 2).",
            ),
            "look": ("error", "No."),
        }
    )
    assert effects(talk.state) == [CallModel("t1-s2", 1, "triage")]


def test_the_same_call_twice_in_a_reply_happens_once() -> None:
    """A response that repeats a call id runs the first; the second is told so."""
    talk = Talk()
    talk.say()
    calls = (ToolCall("same", "handoff_to_orders", "{}"), ToolCall("same", "handoff_to_orders", "{}"))
    talk.put(ModelReplied("t1-s1", calls))
    [message] = [m for m in talk.state.transcript if m.role == "tool"]
    assert [each.outcome for each in message.tool_results] == ["transferred", "error"]
    assert talk.state.floor.speaker == "orders"


def test_results_stand_in_call_order_whoever_was_faster() -> None:
    """The second tool returns first; the transcript shows the first one first."""
    talk = Talk()
    talk.say()
    talk.reply(("look", "{}"), ("send", "{}"))
    talk.put(ToolDone("t1-s1-c1", "second"))
    assert talk.state.transcript[-1].role == "assistant"
    talk.put(ToolDone("t1-s1-c0", "first"))
    assert [each.content for each in talk.state.transcript[-1].tool_results] == ["first", "second"]


def test_a_terminal_agent_finishes_the_conversation_and_a_message_takes_it_up_again() -> None:
    """An agent without a way out ends it; the next message goes on with it."""
    talk = Talk()
    talk.say()
    talk.reply(("handoff_to_refunds", "{}"))
    assert Finished("terminal") in talk.reply("Done.")
    assert effects(talk.state) == []
    assert TurnStarted(3, "refunds") in talk.say("one more thing")


def test_follow_ups_go_to_whoever_spoke_last_or_to_the_start_agent() -> None:
    """Return-to-previous on: the specialist goes on. Off: triage takes every message."""
    for enabled, expected in ((True, "orders"), (False, "triage")):
        talk = Talk(return_to_previous=enabled)
        talk.say()
        talk.reply(("handoff_to_orders", "{}"))
        talk.reply("Which order?")
        talk.put(Answer(talk.waiting, Words((user("number 7"),))))
        assert talk.state.floor.speaker == expected


def test_an_approved_call_runs_with_the_arguments_a_person_gave() -> None:
    """Edited arguments replace the model's in the call that starts, not in what the model said."""
    talk = Talk()
    talk.say()
    talk.reply(("pay", '{"amount": 500}'))
    facts = talk.put(Answer(talk.waiting, Approval(approved=True, arguments='{"amount": 5}')))
    assert ToolStarted(1, ToolCall("t1-s1-c0", "pay", '{"amount": 5}')) in facts
    assert talk.state.transcript[-1].tool_calls[0].arguments == '{"amount": 500}'
    assert [each.call.arguments for each in effects(talk.state) if isinstance(each, RunTool)] == ['{"amount": 5}']


def test_a_new_message_withdraws_a_pending_approval() -> None:
    """The call does not run, the model reads why, and the user's words are heard."""
    talk = Talk()
    talk.say()
    talk.reply(("pay", "{}"))
    talk.say("wait, not yet")
    assert talk.results() == snapshot(
        {
            "pay": (
                "withdrawn",
                "Not run: it was waiting for a person's decision, and the user went on with another message.",
            )
        }
    )
    assert not talk.state.requests
    assert effects(talk.state) == [CallModel("t2-s1", 2, "triage")]


def test_a_new_message_after_a_tool_was_cut_off_says_what_is_not_known() -> None:
    """An interrupted call gets a result that claims neither success nor failure."""
    talk = Talk()
    talk.say()
    talk.reply(("send", "{}"))
    talk.say("hello?")
    assert talk.results()["send"][0] == "unknown"


def test_a_crash_in_a_repeatable_tool_runs_it_again() -> None:
    """The same call, under the same id, without a question."""
    talk = Talk()
    talk.say()
    talk.reply(("look", "{}"))
    before = effects(talk.state)
    assert talk.put(Resumed()) == []
    assert effects(talk.state) == before


def test_a_crash_in_any_other_tool_asks_a_person() -> None:
    """Nobody knows whether it ran: a person says what it did, or to run it again."""
    for told, expected in (("It was sent.", []), (None, ["t1-s1-c0"])):
        talk = Talk()
        talk.say()
        talk.reply(("send", "{}"))
        [asked] = talk.put(Resumed())
        assert isinstance(asked, Asked)
        assert asked.ask == "outcome"
        assert talk.put(Resumed()) == []
        talk.put(Answer(asked.request, OutcomeTold(told)))
        assert [each.id for each in effects(talk.state) if isinstance(each, RunTool)] == expected
    assert talk.state.open[1].calls[0].call.id == "t1-s1-c0"


def test_a_failed_model_rests_until_it_is_retried() -> None:
    """The failure is on record, nothing is wanted; resuming wants the very same call again."""
    talk = Talk()
    talk.say()
    [failed] = talk.put(EffectFailed("t1-s1", "Overloaded", "try later"))
    assert failed == Failed("t1-s1", "triage", "Overloaded", "try later")
    assert effects(talk.state) == []
    assert kinds(talk.put(Resumed())) == ["retried"]
    assert effects(talk.state) == [CallModel("t1-s1", 1, "triage")]


def test_a_tool_that_could_not_be_had_is_an_error_result() -> None:
    """A failure around a tool is the model's to deal with, not the end of the run."""
    talk = Talk()
    talk.say()
    talk.reply(("look", "{}"))
    [returned] = talk.put(EffectFailed("t1-s1-c0", "Timeout", "too slow"))
    assert returned == ToolReturned(1, ToolResult("t1-s1-c0", "look", "too slow", "error"))


def test_what_comes_too_late_means_nothing() -> None:
    """A reply to a call nobody waits for any more leaves no fact."""
    talk = Talk()
    talk.say()
    talk.say("something else")
    assert talk.put(ModelReplied("t1-s1", (Text("late"),))) == []
    assert talk.put(ToolDone("t1-s1-c0", "late")) == []
    assert talk.put(EffectFailed("t1-s1", "X", "late")) == []
    assert talk.put(Judged("judge-1", stop=True)) == []


def test_a_termination_condition_is_asked_after_the_user_and_after_a_turn() -> None:
    """It stands before every next speaker; when it holds, the conversation is finished."""
    talk = Talk(condition=True)
    talk.say()
    [judge] = effects(talk.state)
    assert isinstance(judge, Judge)
    talk.put(Judged(judge.id, stop=False))
    talk.reply("Bye.")
    [judge] = effects(talk.state)
    assert talk.put(Judged(judge.id, stop=True)) == [Finished("condition")]
    assert effects(talk.state) == []


def test_a_failing_condition_fails_the_run_and_is_asked_again_on_retry() -> None:
    """No agent is blamed, and nothing is skipped."""
    talk = Talk(condition=True)
    talk.say()
    [judge] = effects(talk.state)
    [failed] = talk.put(EffectFailed(judge.id, "ZeroDivisionError", "oops"))
    assert isinstance(failed, Failed)
    assert failed.agent == ""
    talk.put(Resumed())
    assert [type(each) for each in effects(talk.state)] == [Judge]


def test_a_person_can_end_the_conversation_instead_of_answering() -> None:
    """Whatever was asked; nothing stays open."""
    talk = Talk()
    talk.say()
    talk.reply(("pay", "{}"))
    assert talk.put(Answer(talk.waiting, Terminate()))[-1] == Finished("terminated")
    assert not talk.state.requests
    assert not talk.state.open


def test_a_wrong_answer_is_refused_and_changes_nothing() -> None:
    """Unknown requests and answers of another kind raise; the request stays open."""
    talk = Talk()
    talk.say()
    talk.reply(("pay", "{}"))
    before = talk.state
    with pytest.raises(RequestNotOpen, match="'r7' is not waiting.*'r1'"):
        talk.put(Answer("r7", Approval(approved=True)))
    with pytest.raises(UsageError, match="wants an approval, got Words"):
        talk.put(Answer("r1", Words((user("yes"),))))
    assert talk.state == before


def test_an_empty_reply_is_no_message_to_anyone() -> None:
    """A model that says nothing ends its turn; nobody is shown an empty message."""
    talk = Talk()
    talk.say()
    facts = talk.reply()
    assert [f.message.parts for f in facts if isinstance(f, Replied)] == [()]
    assert effects(talk.state) == []
