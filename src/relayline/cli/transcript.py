"""A journal in lines: the conversation as the piped chat shows it, or fact by fact."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC
from typing import cast

from relayline.cli.calls import outcome, written
from relayline.cli.clean import clean, one_line
from relayline.events import (
    Answered,
    Asked,
    Compacted,
    Entry,
    Fact,
    Failed,
    Forked,
    HandedBack,
    HandoffSent,
    Replied,
    SessionStarted,
    Stopped,
    TeamChanged,
    ToolInterrupted,
    ToolReconciled,
    ToolReturned,
    ToolStarted,
    TurnStarted,
    UserSpoke,
    Warned,
    placed,
)
from relayline.journal.codec import encode
from relayline.messages import JSON, Message, ToolCall


def conversation(entries: Sequence[Entry]) -> Iterator[tuple[Entry, list[str]]]:
    """What was said and done, in lines; facts between that only keep order are left out."""
    calls: dict[str, dict[str, ToolCall]] = {}  # of the team, and of each within it
    paths = {"": ""}
    for entry in entries:
        inner, fact = placed(entry.fact)
        known, path = calls.setdefault(inner, {}), paths.get(inner, inner)
        if isinstance(fact, TurnStarted):
            paths[f"{inner}t{fact.turn}."] = f"{path}{fact.agent}/"
        if isinstance(fact, Replied):
            known.update((call.id, call) for call in fact.message.tool_calls)
        if isinstance(fact, ToolStarted):
            known[fact.call.id] = fact.call
        if lines := _lines(fact, known, path, inner):
            yield entry, lines


def numbered(entries: Sequence[Entry]) -> str:
    """The conversation with the number of each fact in front, which `--at` takes."""
    return "\n".join(
        f"{entry.seq if first else '':>6}  {line}"
        for entry, lines in conversation(entries)
        for first, line in zip([True, *[False] * len(lines)], lines, strict=False)
    )


def fact_line(entry: Entry) -> str:
    """A fact in a line: its number, when it was taken, its type and what else it says."""
    at = entry.at.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    inner, fact = placed(entry.fact)
    return f"{entry.seq:>6}  {at}  {inner + fact.type:<15}  {_details(fact)}".rstrip()


def entry_json(entry: Entry) -> dict[str, JSON]:
    """A fact for programs, as it is in the journal."""
    return {"seq": entry.seq, "at": entry.at.astimezone(UTC).isoformat(), "fact": json.loads(encode(entry.fact))}


def message_json(message: Message) -> dict[str, JSON]:
    """A message for programs; media without what is in them."""
    return {
        "role": message.role,
        "author": message.author_name,
        "text": message.text,
        "tool_calls": [{"id": each.id, "name": each.name, "arguments": each.arguments} for each in message.tool_calls],
        "tool_results": [
            {"call_id": each.call_id, "name": each.name, "outcome": each.outcome, "content": each.content}
            for each in message.tool_results
        ],
        "media": [{"media_type": each.media_type, "name": each.name, "url": each.url} for each in message.media],
    }


def _lines(fact: Fact, calls: Mapping[str, ToolCall], path: str, inner: str) -> list[str]:
    """``path``: of the team within the team, ``refunds/``. ``inner``: what its requests' ids begin with."""
    match fact:
        case UserSpoke(message):
            return _said(message.author_name or "user", message.in_words)
        case Replied(_, message):
            return _said(path + message.author_name, message.in_words)
        case ToolReturned(_, result) if result.outcome != "transferred":
            call = calls.get(result.call_id)
            return [f"   {written(call) if call else f'{one_line(result.name)}(...)'} = {outcome(result)}"]
        case HandoffSent(_, source, target, reason):
            way = f"{one_line(path + source)} -> {one_line(path + target)}"
            return [f"-- {way}" + (f" ({one_line(reason)})" if reason else "")]
        case HandedBack(_, source, target, reason):
            return [f"-- {one_line(path + source)} -> {one_line(path + target)} ({one_line(reason) or 'done'})"]
        case Answered(request, settled, note, by) if settled in ("approved", "refused", "told", "rerun", "terminated"):
            who = f" by {one_line(by)}" if by else ""
            return [f"-- {inner}{request} {settled}{who}" + (f": {one_line(note)}" if note else "")]
        case Failed(_, agent, error, message):
            return [f"-- {one_line(path + agent) or 'the team'} failed: {one_line(f'{error}: {message}')}"]
        case Stopped(budget, message):
            return [f"-- stopped: the budget of {budget} is used up, {one_line(message)}"]
        case Warned(code, message):
            return [f"-- warning {one_line(code)}: {one_line(message)}"]
        case Forked(session, upto):
            return [f"-- a branch of {one_line(session)}@{upto} from here on"]
        case ToolInterrupted(_, call_id):
            return [f"-- {_call(call_id, calls)} was cut off; its tool is asked what became of it"]
        case ToolReconciled(_, call_id, done):
            return [f"-- {_call(call_id, calls)} {'took effect' if done else 'did not take effect'}, its tool says"]
        case TeamChanged(_, _, renamed, tools):
            names = ", ".join(f"{one_line(old)} is {one_line(new)}" for old, new in {**renamed, **tools}.items())
            return [f"-- the team is another from here on{': ' if names else ''}{names}"]
        case Compacted(upto):
            return [f"-- compacted: what was said in the first {upto} facts is forgotten"]
        case _:
            return []


def _call(call_id: str, calls: Mapping[str, ToolCall]) -> str:
    return written(calls[call_id]) if call_id in calls else one_line(call_id)


def _said(who: str, words: str) -> list[str]:
    """Every line behind its speaker's name, so that none can pass itself off as something else."""
    return [f"{one_line(who)}: {line}" for line in clean(words).strip("\n").split("\n") if words.strip()]


def _details(fact: Fact) -> str:
    match fact:
        case UserSpoke(message, to):
            return one_line(message.in_words) + (f" (to {one_line(to)})" if to else "")
        case Replied(_, message):
            return one_line(" ".join([f"{message.author_name}:", message.in_words, *map(written, message.tool_calls)]))
        case SessionStarted(workflow, fingerprint):
            return f"workflow={one_line(workflow)} fingerprint={one_line(fingerprint)}"
        case ToolStarted(_, call):
            return written(call)
        case ToolReturned(_, result):
            return f"{one_line(result.name)} = {outcome(result)}"
        case Asked(request, ask, _, agent, call):
            return f"{request} {ask} {one_line(agent)}" + (f": {written(call)}" if call else "")
        case _:
            fields = cast("dict[str, JSON]", json.loads(encode(fact)))
            return one_line(" ".join(f"{name}={_json(value)}" for name, value in fields.items() if name != "type"))


def _json(value: JSON) -> str:
    return value if isinstance(value, str) and value.isalnum() else json.dumps(value, ensure_ascii=False)
