"""Arguments from words: found where they were said, valid where they are given out, missing otherwise."""

import json
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from relayline import tool
from relayline.clients.meaning import by_word_only
from relayline.clients.shapes import evidence
from relayline.clients.slots import Filled, Heard, fill

ORDER = {"type": "string", "pattern": r"^A-\d{4}$", "description": "The order number, such as A-1042"}


def schema(needed: Mapping[str, Any] | None = None, **optional: Any) -> dict[str, Any]:
    needed = needed or {}
    return {"type": "object", "properties": {**needed, **optional}, "required": list(needed)}


def found(said: str, parameters: Mapping[str, Any], asked: Sequence[str] = (), **heard: Any) -> Filled:
    return fill(parameters, Heard(said, heard.pop("request", said), asked=frozenset(asked), **heard), by_word_only)


# Shapes


@pytest.mark.parametrize(
    "said", ["where is A-1042?", "a-1042", "A 1042 please", "order A1042.", "#A-1042!", "it is (A-1042)", "A–1042"]
)
def test_a_pattern_is_found_however_people_write_it(said: str) -> None:
    """Small letters, a space or a long dash in an order number do not matter; what is given out fits the pattern."""
    assert found(said, schema({"order_number": ORDER})).arguments == {"order_number": "A-1042"}


@pytest.mark.parametrize("said", ["1042", "A-104", "A-10421", "AB-1042", "where is my order?", ""])
def test_what_does_not_fit_is_missing_and_never_completed(said: str) -> None:
    """A number without its letter is not taken for the whole: nothing is invented."""
    assert found(said, schema({"order_number": ORDER})) == Filled({}, ("order_number",))


def test_ordinary_words_are_not_taken_for_codes() -> None:
    """A pattern of letters alone does not turn "the" into an airport, and takes one that was written as such."""
    airport = schema({"airport": {"type": "string", "pattern": "^[A-Z]{3}$"}})
    assert found("fly me to the moon", airport).missing == ("airport",)
    assert found("fly me to JFK", airport).arguments == {"airport": "JFK"}


def test_two_parameters_of_one_shape_take_two_values() -> None:
    """In "swap A-1042 for A-1043" both are filled, and one number alone leaves the second to be asked for."""
    both = schema({"old": ORDER, "new": ORDER})
    assert found("swap A-1042 for A-1043", both).arguments == {"old": "A-1042", "new": "A-1043"}
    assert found("swap A-1042", both) == Filled({"old": "A-1042"}, ("new",))


def test_the_example_in_a_description_gives_the_shape() -> None:
    """Without a pattern, the example that a description gives says what to look for."""
    ticket = schema({"ticket_id": {"type": "string", "description": "The ticket, for example INC00123"}})
    assert found("is inc77120 solved?", ticket).arguments == {"ticket_id": "INC77120"}


def test_addresses_identifiers_and_links_are_known_by_format_or_name() -> None:
    """Formats say what to look for, and so do names like ``email`` or ``phone``."""
    place = schema(
        {
            "email": {"type": "string"},
            "id": {"type": "string", "format": "uuid"},
            "link": {"type": "string", "format": "uri"},
        }
    )
    key = "3f2b8c1e-0d4a-4b6e-9f57-2a1c0b9d8e7f"
    assert found(f"I am Bob.x+y@ex.co.uk, see https://ex.com/a?b=1. Key {key}", place).arguments == {
        "email": "Bob.x+y@ex.co.uk",
        "id": key,
        "link": "https://ex.com/a?b=1",
    }


@pytest.mark.parametrize(
    ("said", "day"),
    [
        ("on 2027-03-09", "2027-03-09"),
        ("on March 9, 2027", "2027-03-09"),
        ("the 9th of March 2027", "2027-03-09"),
        ("9 Sept 2027", "2027-09-09"),
        ("on 2027-02-30", None),
        ("on 3/9/2027", None),
        ("tomorrow", None),
        ("on March 9", None),
    ],
)
def test_dates_are_taken_when_they_are_certain(said: str, day: str | None) -> None:
    """A date has a year and one meaning; "tomorrow" needs a clock, and there is none."""
    filled = found(said, schema({"day": {"type": "string", "format": "date"}}))
    assert filled.arguments.get("day") == day


def test_from_and_to_dates_are_taken_in_their_order() -> None:
    """The first date is the first day, the second the last."""
    day = {"type": "string", "format": "date"}
    assert found("off from 2027-07-01 to 2027-07-14", schema({"first_day": day, "last_day": day})).arguments == {
        "first_day": "2027-07-01",
        "last_day": "2027-07-14",
    }


# Numbers, choices, yes and no


def test_numbers_go_to_the_parameter_they_count() -> None:
    """Each number is taken by the parameter whose name follows it, whatever the order."""
    stay = schema({"guests": {"type": "integer"}, "nights": {"type": "integer"}})
    assert found("two nights for 3 guests", stay).arguments == {"guests": 3, "nights": 2}


@pytest.mark.parametrize(
    ("said", "amount"),
    [
        ("refund $29.99 please", 29.99),
        ("refund 29,99 EUR", 29.99),
        ("I want 1,299.00 euros back", 1299),
        ("refund 1.299,50 €", 1299.5),
        ("refund of 20 for A-1042", 20),
        ("I ordered two weeks ago", None),
        ("refund A-1042", None),
        ("it came on 2026-11-02", None),
    ],
)
def test_amounts_of_money(said: str, amount: float | None) -> None:
    """Currencies and both ways to write decimals are understood; numbers of something else are left alone."""

    @tool
    def refund(amount: Annotated[Decimal, Field(gt=0, description="How much to pay back")]) -> None:
        """Pay back."""

    assert found(said, refund.parameters).arguments.get("amount") == amount


def test_a_number_out_of_bounds_is_missing() -> None:
    """What the schema does not allow is asked for again, not cut to size."""
    limit = schema({"limit": {"type": "integer", "minimum": 100, "maximum": 500, "description": "The new limit"}})
    assert found("set the limit to 300", limit).arguments == {"limit": 300}
    assert found("set the limit to 9000", limit).missing == ("limit",)


def test_a_choice_is_taken_by_its_words_or_its_meaning() -> None:
    """A choice that was said is taken; one that was meant needs to be clearly the closest; else it is missing."""
    size = schema({"size": {"enum": ["small", "family_van", "other"], "type": "string"}})
    assert found("the family van please", size).arguments == {"size": "family_van"}
    assert found("anything", size).missing == ("size",)

    def alike(text: str, others: Sequence[str]) -> list[float]:
        return [0.5 if each == "small" and "tiny" in text else 0.1 for each in others]

    assert fill(size, Heard("a tiny one"), alike).arguments == {"size": "small"}
    assert fill(size, Heard("the other day I was here"), alike).arguments == {"size": "other"}


def test_yes_and_no() -> None:
    """A yes answers a question that was asked; otherwise the thing itself has to be named, with or without."""
    insured = schema({"insurance": {"type": "boolean"}})
    assert found("with insurance please", insured).arguments == {"insurance": True}
    assert found("without insurance please", insured).arguments == {"insurance": False}
    assert found("yes please", insured).missing == ("insurance",)
    assert found("yes please", insured, asked=["insurance"]).arguments == {"insurance": True}
    assert found("no", insured, asked=["insurance"]).arguments == {"insurance": False}


# Words


@pytest.mark.parametrize(
    ("said", "name", "value"),
    [
        ("my name is Ada Lovelace, nice to meet you", "customer_name", "Ada Lovelace"),
        ("the title is The Left Hand", "title", "The Left Hand"),
        ('order "Dune Messiah" for me', "book", "Dune Messiah"),
        ("I need a room in San Sebastian for a week", "city", "San Sebastian"),
        ("city: rome", "city", "rome"),
    ],
)
def test_names_are_taken_where_they_are_named(said: str, name: str, value: str) -> None:
    """A name is what a text says it is, what it quotes, or where it says one goes."""
    assert found(said, schema({name: {"type": "string"}})).arguments == {name: value}


def test_a_way_has_two_ends() -> None:
    """Origin and destination are told apart by from and to."""
    way = schema({"origin": {"type": "string"}, "destination": {"type": "string"}})
    assert found("a flight to Oslo from New York", way).arguments == {"origin": "New York", "destination": "Oslo"}
    assert found("from berlin to rome", way).arguments == {"origin": "berlin", "destination": "rome"}
    assert found("I want to return something to you", way).missing == ("origin", "destination")


@pytest.mark.parametrize("said", ["Vienna", "it's Vienna", "to Vienna, please", "in Vienna.", "the city is Vienna"])
def test_a_short_answer_is_the_value_that_was_asked_for(said: str) -> None:
    """After our question the answer is the value, without the courtesies around it."""
    assert found(said, schema({"city": {"type": "string"}}), asked=["city"]).arguments == {"city": "Vienna"}


def test_a_question_back_is_no_answer() -> None:
    """Asked for a city, "which ones do you have?" is not the name of one."""
    assert found("which ones do you have?", schema({"city": {"type": "string"}}), asked=["city"]).missing == ("city",)


def test_free_text_gets_the_users_own_sentence() -> None:
    """A reason or a description is the user's sentence as it stands: the one that began the matter."""
    report = schema({"details": {"type": "string"}, "flat": {"type": "string", "pattern": r"^F-\d+$"}})
    filled = found("F-7", report, asked=["flat"], request="the radiator is leaking")
    assert filled.arguments == {"details": "the radiator is leaking", "flat": "F-7"}


def test_optional_parameters_want_good_evidence() -> None:
    """What is not required is left out unless it was plainly said."""
    optional = schema(
        None,
        note={"type": "string", "default": ""},
        color={"anyOf": [{"enum": ["red", "blue"]}, {"type": "null"}]},
        count={"type": "integer"},
        order_number=ORDER,
    )
    assert found("please send it soon, 2 weeks are long", optional).arguments == {}
    assert found("the blue one, count 3, in A-1042", optional).arguments == {
        "color": "blue",
        "count": 3,
        "order_number": "A-1042",
    }


# Where it is looked for


def test_the_last_message_comes_first_then_the_earlier_ones_then_results() -> None:
    """What was said last counts; what was said before still does; what tools returned comes after."""
    place = schema({"order_number": ORDER})
    said_before = {"earlier": ("it is A-1042",), "facts": ('{"order_number": "A-1044"}',)}
    assert found("A-1041 it is", place, **said_before).arguments == {"order_number": "A-1041"}
    assert found("send it back", place, **said_before).arguments == {"order_number": "A-1042"}
    assert found("send it back", place, facts=said_before["facts"]).arguments == {"order_number": "A-1044"}


def test_another_one_is_not_the_one_spoken_of_before() -> None:
    """Some "other order" is not the order we know, so it is asked for."""
    assert found("and my other order?", schema({"order_number": ORDER}), earlier=("A-1042",)).missing


def test_results_give_what_they_call_by_the_same_name() -> None:
    """A value recorded under the parameter's own name is taken from a result; an unnamed number is not."""
    place = schema({"booking_total": {"type": "number"}})
    assert found("pay it", place, facts=('{"data": [{"bookingTotal": 80.5}]}',)).arguments == {"booking_total": 80.5}
    assert found("pay it", place, facts=("12 items, 80.50",)).missing == ("booking_total",)


# Schemas as tools have them


class Kind(StrEnum):
    """Kinds of defect."""

    HEATING = "heating"
    WATER = "water"


class Address(BaseModel):
    """Where."""

    email: str
    flat: Annotated[str, Field(pattern=r"^F-\d+$")]


@tool
def report(
    kind: Kind,
    where: Address,
    urgency: Literal["low", "high"],
    orders: Annotated[list[Annotated[str, Field(pattern=r"^A-\d{4}$")]], Field(min_length=1)],
    days: Annotated[int | None, Field(ge=1)] = None,
) -> None:
    """Report something."""


def test_references_unions_lists_and_nested_objects() -> None:
    """What pydantic makes of enums, models, lists and optional values is filled, and the tool accepts it."""
    filled = found("water in F-12, high, me@ex.org, A-1042 and A-1043, since 3 days", report.parameters)
    assert filled.missing == ()
    assert report.problem(json.dumps(filled.arguments)) is None
    assert filled.arguments == {
        "kind": "water",
        "where": {"email": "me@ex.org", "flat": "F-12"},
        "urgency": "high",
        "orders": ["A-1042", "A-1043"],
        "days": 3,
    }


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"type": "object"},
        {"type": "object", "properties": {"x": {"$ref": "#/$defs/x"}}, "required": ["x"], "$defs": {}},
        {
            "type": "object",
            "properties": {"x": {"$ref": "#/$defs/x"}},
            "required": ["x"],
            "$defs": {"x": {"$ref": "#/$defs/x"}},
        },
        {"type": "object", "properties": {"x": {"type": "string", "pattern": "(["}}, "required": ["x"]},
        {"type": "object", "properties": {"x": {"type": "array"}}, "required": ["x", "y"]},
        {"type": "object", "properties": {"x": True}, "required": ["x"]},
    ],
)
def test_odd_schemas_are_survived(odd: dict[str, Any]) -> None:
    """Dangling, endless or broken schemas mean missing values, never an exception."""
    filled = found("x is 5 and A-1042", odd)
    assert set(filled.missing) >= {"y"} if "y" in odd.get("required", ()) else True
    assert evidence(odd, "x") == 0


SCRAPS = st.sampled_from(
    "A-1042 a1042 F-12 me@ex.org 2027-03-09 9 March 2027 $29.99 3 days two nights water high heating low from Rome to Oslo "
    'because it broke and my name is Ada "quoted words" the other one yes no 12:30 -5 1e9 0 ... \' " \U0001f600 ñ'.split()
) | st.text(max_size=12)


@given(st.lists(SCRAPS, max_size=14), st.lists(SCRAPS, max_size=5), st.floats(0, 1))
def test_complete_arguments_are_always_accepted(said: list[str], before: list[str], likeness: float) -> None:
    """Whatever was said: when nothing is missing, the tool has no problem with the arguments."""

    def alike(_: str, others: Sequence[str]) -> list[float]:
        return [likeness / (1 + index) for index in range(len(others))]

    filled = fill(report.parameters, Heard(" ".join(said), earlier=(" ".join(before),)), alike)
    given_out = json.dumps(filled.arguments)
    if not filled.missing:
        assert report.problem(given_out) is None
    for name, value in filled.arguments.items():
        assert report.problem(json.dumps({**COMPLETE, name: value})) is None


COMPLETE = {
    "kind": "water",
    "where": {"email": "a@b.co", "flat": "F-1"},
    "urgency": "low",
    "orders": ["A-1042"],
}


def test_eight_times_the_words_are_eight_times_the_work() -> None:
    """Digits, words or brackets eight times as long take some eight times as long to look through, not sixty-four."""

    def work(unit: str, length: int) -> float:
        started = time.process_time()
        fill(report.parameters, Heard(unit * (length // len(unit))), by_word_only)
        return time.process_time() - started

    for unit in (
        "1234567890 ",
        "a" * 50 + " ",
        "order A-104 ",
        "([{<\"'",
        "from the city is ",
        "1.",
        "@.",
        "A" * 9 + "-",
    ):
        assert work(unit, 256_000) < 24 * work(unit, 32_000) + 0.05, unit
