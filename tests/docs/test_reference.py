"""The reference pages and the code they are about say the same."""

import json
import re
from dataclasses import MISSING, fields
from pathlib import Path
from typing import get_args

import relayline
from relayline import compat, errors
from relayline.events import Ask, Ending, Fact, Settled, Spent
from relayline.journal.codec import VERSION, decode, encode
from relayline.machine.limits import Limits, OnLoop
from relayline.machine.patterns import AUTONOMOUS_TURNS
from relayline.messages import Outcome, Part
from relayline.runtime.stream import CLASSES, EventType, WorkflowEvent, WorkflowRunState

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs" / "reference"
SOURCE = ROOT / "src" / "relayline"
CLASSED = {each.__name__: name for name, each in CLASSES.items()}
FACTS = {kind.__dataclass_fields__["type"].default: kind for kind in get_args(Fact)}


def rows(page: str) -> list[list[str]]:
    """The cells of every table row."""
    lines = re.findall(r"^\| (.+?) \|$", (REFERENCE / page).read_text("utf-8"), re.MULTILINE)
    return [[cell.strip() for cell in line.split("|")] for line in lines]


def code(text: str) -> list[str]:
    return re.findall(r"`([^`]+)`", text)


def paragraph(page: str, start: str) -> str:
    return next(each for each in (REFERENCE / page).read_text("utf-8").split("\n\n") if each.startswith(start))


def test_every_type_of_event_is_described_once():
    """The table of types is the code's, in its order."""
    described = [code(cells[0])[0] for cells in rows("events.md") if len(cells) == 4 and code(cells[0])]
    assert sorted(described) == sorted(get_args(EventType))


def test_every_class_of_events_is_described_with_its_type():
    """The table of classes is the code's, in its order."""
    described = {name: code(cells[1])[0] for cells in rows("events.md") for name in code(cells[0]) if name in CLASSED}
    assert list(described.items()) == list(CLASSED.items())


def test_every_field_of_an_event_is_described():
    """What a caller can read from an event is in the table of fields."""
    described = {name for cells in rows("events.md") if len(cells) == 2 for name in code(cells[0])} - set(CLASSED)
    assert described == {each.name for each in fields(WorkflowEvent)} | {"source_executor_id"}


def test_every_state_a_run_ends_in_is_described():
    """The last status of a run is one of those the page names, and each of these exists."""
    named = {each for each in code((REFERENCE / "events.md").read_text("utf-8")) if each.isupper()}
    assert named - {"SESSION"} <= set(WorkflowRunState)


def test_the_tree_of_errors_is_the_one_in_the_code():
    """The page shows the drawing of `errors.py`, and that is how the classes inherit."""
    assert errors.__doc__
    drawn = re.search(r"^```text\n(.*?)^```$", (REFERENCE / "errors.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert drawn
    assert [line.strip() for line in drawn[1].splitlines()] == [
        line.strip() for line in errors.__doc__.splitlines() if line.startswith("    ")
    ]
    above: list[str] = []
    for line in drawn[1].splitlines():
        indent, name = re.match(r"([│├└─ ]*)(\w+)", line).groups()  # type: ignore[union-attr]
        above[len(indent) // 4 :] = [name]
        if len(above) > 1:
            assert getattr(errors, above[-2]) in getattr(errors, name).__bases__, f"{name} is not under {above[-2]}"


def test_every_error_has_its_advice():
    """Whoever meets an error finds what to do, and no error is described that does not exist."""
    ours = {name for name, each in vars(errors).items() if isinstance(each, type) and issubclass(each, Exception)}
    described = {code(cells[0])[0] for cells in rows("errors.md") if code(cells[0])}
    assert described == ours - {"RelaylineError", "WorldError"}


def test_every_fact_has_a_line_that_the_codec_would_write():
    """The lines are read and written again as they stand, one for each fact, in the order of the code."""
    block = re.search(r"^```jsonl\n(.*?)^```$", (REFERENCE / "journal.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert block
    lines = block[1].splitlines()
    assert [encode(decode(line)) for line in lines] == lines
    assert [json.loads(line)["type"] for line in lines] == list(FACTS)


def test_every_fact_is_described_with_what_it_leaves_out():
    """Each fact has its row, in the order of the code, and the row names the fields with a default."""
    table = {code(cells[0])[0]: cells for cells in rows("journal.md") if code(cells[0])}
    assert list(table) == list(FACTS)
    for name, kind in FACTS.items():
        optional = {each.name for each in fields(kind) if not (each.default is each.default_factory is MISSING)} - {
            "type"
        }
        assert set(code(table[name][-1] if len(table[name]) > 2 else "")) == optional, name


def test_every_value_with_a_meaning_is_listed():
    """Outcomes, questions, their ends and endings are those of the code."""
    asked = code(paragraph("journal.md", "**What is asked**"))
    assert set(code(paragraph("journal.md", "**Outcomes**"))) == set(get_args(Outcome))
    assert asked == [*get_args(Ask), *get_args(Settled), *get_args(Ending)]
    assert code(paragraph("journal.md", "**What there is a budget of**")) == list(get_args(Spent))
    kinds = {kind.__dataclass_fields__["kind"].default for kind in get_args(Part)}
    assert kinds <= set(code(paragraph("journal.md", "**A message**")))


def test_the_format_is_the_one_described():
    """Raising the format means reading this page again."""
    assert f'"version":{VERSION}' in (REFERENCE / "journal.md").read_text("utf-8")


def test_every_code_of_a_build_problem_is_described_once():
    """Whoever is told a code finds it, and a code that is given no more is not described."""
    described = [code(cells[0])[0] for cells in rows("build-problems.md") if code(cells[0])]
    sources = [
        (SOURCE / name).read_text("utf-8")
        for name in (
            "builders.py",
            "declared.py",
            "agent.py",
            "tools.py",
            "reconcile.py",
            "signature.py",
            "delegated.py",
            "mcp.py",
            "review.py",
            "executors.py",
            "assembled.py",
            "pipelines.py",
            "groupchat.py",
            "graphs.py",
            "teamfile/document.py",
            "teamfile/faults.py",
            "teamfile/names.py",
            "teamfile/read.py",
            "teamfile/write.py",
        )
    ]
    given = set(re.findall(r"\bRL\d{3}\b", "".join(sources)))
    assert described == sorted(given)


def test_every_code_of_a_warning_is_described_once():
    """The codes are those of the limits, and the words for `on_loop` those that a builder takes."""
    page = "../how-to/loops-and-autonomy.md"
    first = [code(cells[0])[0] for cells in rows(page) if code(cells[0])]
    given = re.findall(r'Objection\(\s*"(\w+)"', (SOURCE / "machine" / "limits.py").read_text("utf-8"))
    assert set(first) - {"code", "on_loop"} == {*given, *(f'"{word}"' for word in get_args(OnLoop))}
    assert len(first) == len(set(first))


def test_every_older_spelling_has_its_row():
    """Whoever changes a program from an older name finds it, with what it is now."""
    page = (ROOT / "docs" / "coming-from-agent-framework.md").read_text("utf-8")
    named = set(re.findall(r"\w+", " ".join(code(page.partition("## Where each name went")[2]))))
    ours = {name for name in compat.__all__ if getattr(compat, name) is not getattr(relayline, name, None)}
    methods = {name for kind in (compat.HandoffBuilder, compat.Workflow) for name in vars(kind) if name[0] != "_"}
    assert ours | methods - {"build"} <= named


def test_the_limits_a_page_names_are_the_defaults():
    """A default that changes is changed where it is promised."""
    limits, page = Limits(), (REFERENCE.parent / "how-to" / "loops-and-autonomy.md").read_text("utf-8")
    for said in (f"| {limits.hops} handoffs", f"| {limits.misses} replies", f"| {limits.steps} replies"):
        assert said in page
    assert f"it is {AUTONOMOUS_TURNS} times in a row" in page
