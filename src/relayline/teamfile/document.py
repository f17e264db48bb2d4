# PyYAML says little of its types.
# pyright: reportUnknownMemberType=false

"""YAML as data: what a file says, and in which line (the extra ``yaml``).

Only plain data is read, by the rules of YAML 1.2 (``no`` is a text): no tags, and no aliases, by which a short file can
become a long one.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, cast

from relayline.errors import MissingExtra
from relayline.messages import JSON

try:
    import yaml
except ImportError as missing:
    raise MissingExtra("teams in files need the package pyyaml: pip install 'relayline[yaml]'") from missing

Path: TypeAlias = tuple[str | int, ...]
"""From the whole of a file to one of its values."""

CORE: Final = "tag:yaml.org,2002:"
KINDS: Final = {
    "null": (r"~|null|Null|NULL|", "~nN\0"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
}
KIND_OF: Final = {"null": "not null", "bool": "neither true nor false", "int": "no whole number", "float": "no number"}
"""What a text is that a tag does not fit."""

HALF: Final = re.compile("[\ud800-\udfff]")
"""Half a character, which no encoding has."""

HALVED: Final = "half a character, such as \\ud800, is no text"

RARE: Final = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff]")
"""What is written as a code: controls but the line feed, and what else would end a line."""


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """What is wrong in a line, counted from 1, with its stable code."""

    line: int
    code: str
    what: str


@dataclass(frozen=True, slots=True)
class Document:
    """A file's data, and the line of each value by its path."""

    value: JSON
    lines: Mapping[Path, int] = field(default_factory=dict[Path, int])

    def line(self, path: Sequence[str | int]) -> int:
        """The line of the innermost value on this path that is there."""
        place = tuple(path)
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place, 1)

    def inside(self, path: Path) -> "Document":
        """The value at this path as a document of its own, with its lines in the whole."""
        value = self.value
        for step in path:
            value = cast("Any", value)[step]
        deep = len(path)
        return Document(value, {each[deep:]: line for each, line in self.lines.items() if each[:deep] == path})


class _Loader(yaml.SafeLoader):
    """Composes nodes only; what they mean is said here."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  a class attribute of theirs

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = cast("Any", self).peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="an alias, such as *this, is not read: write it out", problem_mark=mark)
        return super().compose_node(parent, index)


class _Dumper(yaml.SafeDumper):
    """Writes what every YAML reads alike: what YAML 1.1 takes for something else than a text is quoted as well."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        del indentless  # the items of a list are indented, as people write them
        super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


for kind, (pattern, first) in KINDS.items():
    for resolves in (_Loader, _Dumper):
        resolves.add_implicit_resolver(CORE + kind, re.compile(rf"(?:{pattern})\Z"), list(first.replace("\0", "")))
_Loader.add_implicit_resolver(CORE + "null", re.compile(r"\Z"), [""])


def _written(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # Left to itself it would break lines at rarer characters than a line feed, and read them as spaces.
    plain = not RARE.search(text)
    return dumper.represent_scalar(CORE + "str", text, style='"' if not plain else "|" if "\n" in text else None)


_Dumper.add_representer(str, _written)


def read(text: str, faults: list[Fault]) -> Document | None:
    """The data of a YAML text; what is no data is a fault, and left out. None: there is none at all."""
    try:
        node = cast("yaml.Node | None", yaml.compose(text, _Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        faults.append(Fault(mark.line + 1 if mark else 1, "RL301", str(error.problem or error.context)))
        return None
    except yaml.YAMLError as error:
        faults.append(Fault(1, "RL301", " ".join(str(error).split())))
        return None
    except RecursionError:
        faults.append(Fault(1, "RL301", "it is nested too deeply"))
        return None
    if node is None:
        faults.append(Fault(1, "RL301", "it is empty"))
        return None
    lines: dict[Path, int] = {}
    return Document(_value(node, (), lines, faults), lines)


def halved(value: JSON) -> Iterator[str]:
    """The texts and keys that `read` would refuse as they have half a character, each where it is."""
    match value:
        case str() if HALF.search(value):
            yield value
        case dict():
            for key, each in value.items():
                yield from halved(key)
                yield from halved(each)
        case list():
            for each in value:
                yield from halved(each)
        case _:
            pass


def write(value: Mapping[str, JSON]) -> str:
    """The YAML text that `read` gives back as this value."""
    style: dict[str, Any] = {"sort_keys": False, "allow_unicode": True, "width": 100, "default_flow_style": False}
    return cast("str", yaml.dump(value, Dumper=_Dumper, **style))


def _value(node: yaml.Node, path: Path, lines: dict[Path, int], faults: list[Fault]) -> JSON:
    line = node.start_mark.line + 1
    lines.setdefault(path, line)
    match node:
        case yaml.MappingNode() if node.tag == CORE + "map":
            return {key: _value(each, (*path, key), lines, faults) for key, each in _pairs(node, path, lines, faults)}
        case yaml.SequenceNode() if node.tag == CORE + "seq":
            return [_value(each, (*path, number), lines, faults) for number, each in enumerate(_items(node))]
        case yaml.ScalarNode():
            try:
                return _scalar(node.tag.removeprefix(CORE), str(node.value))
            except ValueError as error:
                faults.append(Fault(line, "RL302", str(error)))
        case _:
            faults.append(Fault(line, "RL302", f"the tag {node.tag} is not read: there is plain data only"))
    return None


def _items(node: yaml.SequenceNode) -> Sequence[yaml.Node]:
    return cast("Sequence[yaml.Node]", node.value)


def _pairs(
    node: yaml.MappingNode, path: Path, lines: dict[Path, int], faults: list[Fault]
) -> Iterator[tuple[str, yaml.Node]]:
    seen: dict[str, int] = {}
    for key, each in cast("Sequence[tuple[yaml.Node, yaml.Node]]", node.value):
        line = key.start_mark.line + 1
        if not isinstance(key, yaml.ScalarNode) or key.tag != CORE + "str":
            faults.append(Fault(line, "RL302", "a key is a text; put it in quotes"))
        elif HALF.search(key.value):
            faults.append(Fault(line, "RL302", HALVED))
        elif key.value in seen:
            first = seen[key.value]
            faults.append(Fault(line, "RL302", f"{key.value!r} is there twice, first in line {first}; keep one"))
        else:
            seen[key.value] = line
            lines[(*path, key.value)] = line
            yield key.value, each


def _scalar(kind: str, text: str) -> JSON:
    nothing = kind == "null" and not text
    if kind in KINDS and not nothing and not re.fullmatch(KINDS[kind][0], text):
        raise ValueError(f"the tag {kind} does not fit {text!r:.80}, which is {KIND_OF[kind]}")
    match kind:
        case "str":
            if HALF.search(text):
                raise ValueError(HALVED)
            return text
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "int":
            return _whole(text)
        case "float":
            return float(re.sub(r"\.(inf|nan)\Z", r"\1", text.lower()))
        case _:
            raise ValueError(f"the tag {kind} is not read: there is plain data only")


def _whole(text: str) -> int:
    base = {"0o": 8, "0x": 16}.get(text[:2], 10)
    try:
        return int(text[2:] if base != 10 else text, base)
    except ValueError:  # Python reads no more than some thousands
        raise ValueError(f"a whole number of {len(text)} digits is not read; put it in quotes") from None
