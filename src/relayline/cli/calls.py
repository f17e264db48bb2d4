"""Tool calls and their results in a line."""

import json
from collections.abc import Mapping

from relayline.cli.clean import one_line, visible
from relayline.messages import JSON, ToolCall, ToolResult

LONGEST_VALUE = 2000


def written(call: ToolCall) -> str:
    """``refund(order_number="A-1044", amount=5)``, on one line, nothing hidden in its arguments."""
    try:
        arguments = call.parse_arguments()
    except ValueError:
        return one_line(f"{call.name}({call.arguments})")
    given = ", ".join(f"{name}={visible(_json(value))}" for name, value in arguments.items())
    return one_line(f"{call.name}({given})")


def arguments_of(call: ToolCall) -> Mapping[str, str]:
    """Each argument as JSON, nothing hidden in it; a very long one is cut and says so."""
    try:
        arguments = call.parse_arguments()
    except ValueError:
        return {"": visible(call.arguments)}
    return {visible(name): _cut(visible(_json(value))) for name, value in arguments.items()}


def as_json(call: ToolCall) -> str:
    """The arguments as JSON to be edited, a line each, nothing hidden in them."""
    try:
        lines = json.dumps(call.parse_arguments(), ensure_ascii=False, indent=2).split("\n")
    except ValueError:
        lines = [call.arguments]
    return "\n".join(map(visible, lines))


def outcome(result: ToolResult) -> str:
    """What came of a call, on one line; an outcome other than ``done`` is named first."""
    said = one_line(result.content)
    return said if result.outcome == "done" else f"{result.outcome.replace('_', ' ')}: {said}"


def shown(data: JSON) -> str:
    """What a tool shows while it runs, on one line."""
    return one_line(data if isinstance(data, str) else _json(data))


def _json(value: JSON) -> str:
    return json.dumps(value, ensure_ascii=False)


def _cut(text: str) -> str:
    if len(text) <= LONGEST_VALUE:
        return text
    return f"{text[:LONGEST_VALUE]}... ({len(text):,} characters; editing shows all)"
