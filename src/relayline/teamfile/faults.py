"""What is wrong with a team's file: in which line, what was allowed, and all of it at once."""

import ast
import copy
import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from relayline.messages import JSON
from relayline.teamfile.document import Document, Fault, Path
from relayline.teamfile.form import PATTERNS, TEAM, AnyTeam, HandoffTeam, TeamForm

SECTIONS = {
    "with_start_agent": "start",
    "with_terminal_agents": "terminal_agents",
    "with_fallback_agent": "fallback_agent",
    "with_loop_control": "loop_control",
    "with_autonomous_mode": "autonomous",
    "with_view": "participants",
    "with_upgrades": "upgrades",
    "with_concurrent_input": "concurrent_input",
    "add_handoff": "handoffs",
    "hands over": "handoffs",
    "handoff": "handoffs",
    "with_request_info": "request_info",
    "start_executor": "start",
    "add_edge": "edges",
    "add_fan_in_edges": "edges",
    "add_switch_case_edge_group": "edges",
    "add_multi_selection_edge_group": "edges",
}
"""Where in a file that is which a problem of a build names."""

EDGES = frozenset({"RL150", "RL151", "RL153", "RL154"})
"""Problems that are about the edges of a graph, though they name no method."""

TAGS = {"flag": "true, false", "text": "a text", "list": "a list", "mapping": "a mapping"}
"""What a value may be, where it may be of several kinds."""

SHOULD = {
    "string_type": "be a text",
    "list_type": "be a list",
    "dict_type": "be a mapping",
    "model_type": "be a mapping",
    "int_type": "be a whole number",
    "float_type": "be a number",
    "bool_type": "be true or false",
    "too_short": "have one item or more",
    "string_too_short": "be a text that is not empty",
}
"""What a value has to be, by the kind of pydantic's error; of other kinds its own words will do."""


def checked(document: Document, faults: list[Fault]) -> tuple[AnyTeam, Document] | None:
    """The file as a team's form, or as much of it as can be one, and the document of just that; None: too little of it.

    What is wrong is taken out and the rest is looked at again, so that names and edges are checked at the same time.
    """
    value, lines, first = copy.deepcopy(document.value), dict(document.lines), True
    while True:
        try:
            return TEAM.validate_python(value), Document(value, lines)
        except ValidationError as error:
            details = error.errors(include_url=False)
            if first:
                # What was no data was told, and has become nothing.
                known = {fault.line for fault in faults}
                found = [(each["input"], _fault(document, each)) for each in details]
                faults += [fault for given, fault in found if given is not None or fault.line not in known]
            first = False
            paths = [_path(value, each) for each in details]
            for path in sorted(set(paths), key=_order, reverse=True):
                if not path:
                    return None
                _take_out(value, path, lines)


def located(document: Document, problem: str) -> Fault:
    """A problem of a build with the line it is about: the innermost part of the file that has all of its names."""
    code, _, what = problem.partition(" ")
    section = next((place for word, place in SECTIONS.items() if word in what), "participants")
    section = "edges" if code in EDGES else section
    named = [*_quoted(what.partition(";")[0])]
    paths = [*_paths(document.value, ())]
    for names in (named, named[:1]):
        for inside in ((section,), ()):
            found = [path for path in paths if path[: len(inside)] == inside and _mentions(document.value, path, names)]
            if names and found:
                deepest = max(map(len, found))
                path = [each for each in found if len(each) == deepest][-1]
                return Fault(document.line(path), code, _in_words_of_the_file(what))
    return Fault(document.line((section,)), code, _in_words_of_the_file(what))


def told(source: str, faults: Iterable[Fault]) -> list[str]:
    """A sentence for each, from top to bottom."""
    return [f"{each.code} {source}, line {each.line}: {each.what}" for each in sorted(set(faults))]


def _fault(document: Document, error: ErrorDetails) -> Fault:
    path = _path(document.value, error)
    line, name, given = document.line(path), _shown(path), _given(error["input"])
    match error["type"]:
        case "extra_forbidden":
            key, where, instead = str(path[-1]), _where(path[:-1]), _keys(error["loc"], path)
            if others := _patterns_with(document.value, path, error["loc"]):
                where, instead = "in a handoff team", f"give it a 'pattern' that has it: {', '.join(map(repr, others))}"
            return Fault(line, "RL303", f"there is no {key!r} {where}; {instead}")
        case "missing":
            return Fault(line, "RL304", f"{str(error['loc'][-1])!r} is missing {_where(path)}")
        case "literal_error":
            allowed = str(error.get("ctx", {}).get("expected"))
            return Fault(line, "RL305", f"{name} is {given}; allowed: {allowed.replace(' or ', ', ')}")
        case "union_tag_invalid" if error.get("ctx", {}).get("discriminator") == "_pattern()":
            # Nothing can be said of a team whose pattern nobody knows.
            pattern, allowed = _given(error["input"]["pattern"]), ", ".join(map(repr, PATTERNS))
            return Fault(document.line((*path, "pattern")), "RL305", f"'pattern' is {pattern}; allowed: {allowed}")
        case "union_tag_invalid":
            kinds = " or ".join(TAGS[tag] for tag in _quoted(str(error.get("ctx", {}).get("expected_tags"))))
            return Fault(line, "RL305", f"{name} is {given}; it has to be {kinds}")
        case "value_error":
            return Fault(line, "RL305", f"{name}: {str(error['msg']).removeprefix('Value error, ')}")
        case kind:
            should = SHOULD.get(kind) or re.sub(r"^(?:Input|String|Value) should ", "", str(error["msg"]))
            return Fault(line, "RL305", f"{name} is {given}; it has to {should}")


def _path(value: JSON, error: ErrorDetails) -> Path:
    """Where in the data an error is: its place without the steps that only say which form was tried."""
    path: list[str | int] = []
    for step in error["loc"]:
        inside = isinstance(value, dict) and step in value
        if inside or (isinstance(value, list) and isinstance(step, int) and step < len(value)):
            value = cast("Any", value)[step]
            path.append(step)
    return tuple(path)


def _order(path: Path) -> tuple[int, list[tuple[int, str]]]:
    """The innermost last, and of a list the last one: what is taken out first must not move what comes after."""
    return len(path), [(step, "") if isinstance(step, int) else (0, step) for step in path]


def _take_out(value: JSON, path: Path, lines: dict[Path, int]) -> None:
    for step in path[:-1]:
        value = cast("Any", value)[step]
    del cast("Any", value)[path[-1]]
    if isinstance(path[-1], int):  # what stood behind it moves up, with its lines
        depth, taken = len(path) - 1, path[-1]
        for place in [*lines]:
            step = place[depth] if len(place) > depth and place[:depth] == path[:-1] else None
            if isinstance(step, int) and step >= taken:
                line = lines.pop(place)
                if step > taken:
                    lines[*place[:depth], step - 1, *place[depth + 1 :]] = line


def _keys(loc: Sequence[str | int], path: Path) -> str:
    """What could have been meant by a key, or what there is."""
    forms = _forms(loc[:-1])
    fields = [(name, field.alias or name) for form in forms for name, field in form.model_fields.items()]
    # What is special to a pattern is told first.
    fields.sort(key=lambda each: each[0] in TeamForm.model_fields)
    keys = dict.fromkeys(key for _, key in fields)
    close = difflib.get_close_matches(str(path[-1]), [*keys], 1)
    return f"did you mean {close[0]!r}?" if close else f"allowed: {', '.join(map(repr, keys))}"


def _patterns_with(value: JSON, path: Path, loc: Sequence[str | int]) -> Sequence[str]:
    """The patterns that have a key, if it stands in a team that says no pattern."""
    if loc[-2:-1] != (HandoffTeam.__name__,):
        return []
    for step in path[:-1]:
        value = cast("Any", value)[step]
    said = isinstance(value, dict) and "pattern" in value
    return [] if said else [name for name, form in PATTERNS.items() if path[-1] in form.model_fields]


def _forms(loc: Sequence[str | int]) -> list[type[BaseModel]]:
    """The forms that a value at this place may have."""
    forms: list[type[BaseModel]] = [*PATTERNS.values()]
    for step in loc:
        fields = {field.alias or name: field for form in forms for name, field in form.model_fields.items()}
        if narrowed := [form for form in forms if form.__name__ == step]:
            forms = narrowed
        elif step in fields:
            forms = [*_inside(fields[step].annotation)]
    return forms


def _inside(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for each in get_args(annotation):
        yield from _inside(each)


def _shown(path: Path) -> str:
    if not path:
        return "the file"
    names = [each for each in path if isinstance(each, str)]
    return f"{names[-1]}[{path[-1]}]" if isinstance(path[-1], int) else repr(names[-1])


def _where(path: Path) -> str:
    return f"in {_shown(path)}" if path else "in a team"


def _given(given: object) -> str:
    match given:
        case None:
            return "empty"
        case dict():
            return "a mapping"
        case list():
            return "a list" if given else "an empty list"
        case _:
            return f"{given!r:.80}"


def _quoted(text: str) -> Iterator[str]:
    """The names in a sentence, which are written as Python writes strings."""
    for found in re.findall(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"", text):
        yield ast.literal_eval(found)


def _paths(value: JSON, path: Path) -> Iterator[Path]:
    yield path
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _paths(each, (*path, key))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _paths(each, (*path, number))


def _mentions(value: JSON, path: Path, names: Sequence[str]) -> bool:
    for step in path:
        value = cast("Any", value)[step]
    said = {*_scalars(value), *(each for each in path[-1:] if isinstance(each, str))}
    # Of two names a list says nothing but that there are both.
    return all(name in said for name in names) and (len(names) < 2 or isinstance(value, dict))


def _scalars(value: JSON) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for each in value.values():
            yield from _scalars(each)
    elif isinstance(value, list):
        for each in value:
            yield from _scalars(each)


def _in_words_of_the_file(what: str) -> str:
    for method, key in SECTIONS.items():
        if "_" in method:
            what = re.sub(rf"\.?{method}\b", "view" if method == "with_view" else key, what)
    what = re.sub(r"\b\w+Builder\(participants=\[...\]\)", "participants", what)
    return what.replace("an output_type", "an output")
