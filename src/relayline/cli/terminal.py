"""The conversation on a terminal: a colour per speaker, a divider per handoff, a card per decision."""

import os
import shutil
import zlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from rich.box import ROUNDED
from rich.console import Console, Group, RenderableType
from rich.control import Control
from rich.padding import Padding
from rich.panel import Panel
from rich.segment import ControlType
from rich.table import Table
from rich.text import Text

from relayline.cli.calls import arguments_of, shown, written
from relayline.cli.clean import Sieve, clean, one_line
from relayline.cli.conversation import Opening, Screen
from relayline.cli.wrap import Wrap
from relayline.messages import Message, ToolCall, ToolResult
from relayline.runtime.requests import InterruptedCallRequest
from relayline.runtime.stream import WorkflowEvent

COLOURS: Final = ("cyan", "magenta", "green", "yellow", "bright_blue", "bright_red", "bright_magenta", "bright_cyan")
"""Of the terminal's own palette, which its owner can read."""

WIDEST: Final = 100
LONGEST_RECAP: Final = 1000


@dataclass(frozen=True, slots=True)
class Glyphs:
    """The few signs that are no letters."""

    arrow: str = "→"
    rule: str = "─"
    dot: str = "·"
    prompt: str = "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"


ASCII: Final = Glyphs("->", "-", "-", ">")


class TerminalScreen(Screen):
    """Draws on ``console``. ``agents``: the team, in an order that stays, for colours that stay. ``people``: those of
    them who are persons; what they say was typed here, so it is there already.
    """

    def __init__(self, console: Console, agents: Sequence[str], people: Collection[str] = ()) -> None:
        self._console = console
        self._people = people
        self._agents = tuple(agents)
        self.glyphs = ASCII if console.options.ascii_only else Glyphs()
        self._speaker = ""  # under whose name the cursor is
        self._stream: Wrap | None = None
        self._sieve = Sieve()
        self._waiting = False

    # -- around the conversation

    def open(self, opening: Opening) -> None:
        names = Text(f" {self.glyphs.dot} ").join(self._name(agent) for agent in self._agents)
        self._print(Text.assemble((one_line(opening.workflow.name), "bold"), "  ", names))
        self._console.print(Text(clean(opening.about), "dim"), width=self._width())
        before, after = ("new session ", "") if opening.is_new else ("session ", " (continued)")
        self._print(Text.assemble((before, "dim"), one_line(opening.session_id), (after, "dim")))
        if opening.is_new:
            # Not wrapped at words, so that it can be copied as the one line it is.
            self._print(Text(f"come back with  {clean(opening.resume)}", "dim"))
        self._print(Text("/help lists the commands", "dim"))

    def recap(self, messages: Sequence[Message]) -> None:
        for message in messages:
            text = message.in_words
            text = text if len(text) <= LONGEST_RECAP else f"{text[:LONGEST_RECAP]} ..."
            if message.role == "user":
                self.leave()
                self._print()
                self._print(Text.assemble((f"you {self.glyphs.prompt} ", "bold"), clean(text)))
            else:
                self._say(message.author_name, text)

    def tell(self, text: str) -> None:
        self._remark(text, "dim")

    def problem(self, text: str) -> None:
        self._remark(text, "red")

    def close(self, opening: Opening, *, started: bool) -> None:
        self.leave()
        if started:
            self._print()
            self._print(Text.assemble(("come back with  ", "dim"), clean(opening.resume)))

    # -- the conversation

    def show(self, event: WorkflowEvent) -> None:
        match event.type:
            case "message_delta":
                self._hear(event.executor_id, self._sieve.feed(event.data))
            case "message" if event.data.role == "assistant":
                if self._stream is None and event.executor_id not in self._people:
                    self._say(event.executor_id, event.data.text)
                self._end()
            case "executor_invoked" if event.executor_id not in self._people:
                self._wait(event.executor_id)
            case "tool_call":
                self._call(event.executor_id, event.data)
            case "tool_result":
                self._result(event.executor_id, event.data)
            case "handoff_sent":
                self._divide(event.data.source, event.data.target, event.data.reason)
            case "handed_back":
                self._divide(event.data.source, event.data.target, event.data.reason or "done")
            case "progress":
                self._under(event.executor_id)
                self._aside(f"  ... {shown(event.data)}", "dim")
            case "stopped":
                spent = f"the budget of {event.data.budget} is used up, {event.data.message}"
                self._remark(f"Stopped: {spent}. /continue goes on with as much again, or say something.", "yellow")
            case "cancelled":
                self._remark("Cancelled. /continue goes on from there, or say something.", "yellow")
            case "warning":
                self._remark(event.data.message, "yellow")
            case "retried":
                self.tell("trying again")
            case "output":
                self.tell("The team is done. Say something more to take it up again.")
            case _:
                pass

    def card(self, request: WorkflowEvent, call: ToolCall) -> None:
        """A decision to take: which call, with what, and who wants it."""
        self.leave()
        interrupted = isinstance(request.data, InterruptedCallRequest)
        title = Text.assemble(self._name(request.executor_id), " was interrupted" if interrupted else " asks to run")
        parts: list[RenderableType] = [Text(one_line(call.name), "bold"), self._arguments(call)]
        if interrupted:
            parts.append(Text("It was cut off half-way. It may have taken effect, or not.", "yellow"))
            if request.data.problem:
                parts.append(Text(f"Its tool could not say: {one_line(request.data.problem)}", "yellow"))
        self._print()
        self._print(
            Panel(
                Group(*parts), title=title, title_align="left", box=ROUNDED, border_style="yellow", width=self._width()
            )
        )

    def hint(self, text: str) -> None:
        """What can be typed at the prompt that follows."""
        self._console.print(Text(text, "dim"), width=self._width())

    def leave(self) -> None:
        """Finish the line, so that something else can be written."""
        self._stop_waiting()
        self._end()
        self._speaker = ""

    # -- pieces

    def _name(self, agent: str) -> Text:
        return Text(one_line(agent), f"bold {self.colour(agent)}")

    def colour(self, agent: str) -> str:
        """The speaker's colour: by its place in the team, or by its name if it has none there."""
        known = agent in self._agents
        number = self._agents.index(agent) if known else zlib.crc32(agent.encode("utf-8", "replace"))
        return COLOURS[number % len(COLOURS)]

    def _arguments(self, call: ToolCall) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, overflow="ellipsis", max_width=24)
        table.add_column(overflow="fold")
        for name, value in arguments_of(call).items():
            table.add_row(Text(f"  {name}", "dim"), Text(value))
        return table

    def _say(self, agent: str, text: str) -> None:
        if text.strip():
            self._hear(agent, clean(text))
            self._end()

    def _hear(self, agent: str, text: str) -> None:
        if not text or (self._stream is None and not text.strip()):
            return
        self._under(agent)
        if self._stream is None:
            self._stream = Wrap(self._write, self._width)
        self._stream.feed(text)

    def _call(self, agent: str, call: ToolCall) -> None:
        self._under(agent)
        self._aside(f"{self.glyphs.dot} {written(call)}", "dim")

    def _result(self, agent: str, result: ToolResult) -> None:
        if result.outcome == "transferred":
            return
        self._under(agent)
        if result.outcome == "done":
            self._aside(f"  = {one_line(result.content)}", "dim")
        else:
            self._aside(f"  ! {one_line(result.name)}: {one_line(result.content)}", "yellow")

    def _divide(self, source: str, target: str, reason: str) -> None:
        self.leave()
        rule = self.glyphs.rule
        line = Text.assemble((rule * 2 + " ", "dim"), self._name(source), (f" {self.glyphs.arrow} ", "dim"))
        line.append_text(self._name(target))
        why = Text(one_line(reason), "italic dim")
        fits = line.cell_len + why.cell_len + 6 <= self._width()
        if why and fits:
            line.append(f" {self.glyphs.dot} ", "dim")
            line.append_text(why)
        line.append(" " + rule * max(self._width() - line.cell_len - 1, 2), "dim")
        self._print()
        self._print(line)
        if why and not fits:
            self._console.print(Padding(why, (0, 0, 0, 2)), width=self._width())

    def _remark(self, text: str, style: str) -> None:
        self.leave()
        self._print()
        self._console.print(Text(clean(text), style), width=self._width())

    def _aside(self, text: str, style: str) -> None:
        line = Text(f"  {text}", style)
        line.truncate(self._width(), overflow="ellipsis")
        self._print(line)

    def _under(self, agent: str) -> None:
        """Be below the speaker's name."""
        self._stop_waiting()
        if self._stream is not None and self._speaker != agent:
            self._end()
        if self._speaker != agent:
            self._print()
            self._print(self._name(agent))
            self._speaker = agent

    def _end(self) -> None:
        stream, self._stream = self._stream, None
        self._sieve = Sieve()
        if stream is not None:
            stream.end()

    def _wait(self, agent: str) -> None:
        """Say who is at it, until there is something of them to show."""
        if self._console.is_terminal and not self._console.is_dumb_terminal and not self._waiting:
            self._end()
            self._print()
            self._print(Text.assemble(self._name(agent), (" ...", "dim")), end="")
            self._waiting = True

    def _stop_waiting(self) -> None:
        if self._waiting:
            self._waiting = False
            up = Control((ControlType.ERASE_IN_LINE, 2), ControlType.CARRIAGE_RETURN, (ControlType.CURSOR_UP, 1))
            self._console.control(up)

    def _width(self) -> int:
        return max(min(self._console.width, WIDEST), 20)

    def _write(self, text: str) -> None:
        self._print(Text(text), end="")

    def _print(self, shown: RenderableType = "", end: str = "\n") -> None:
        self._console.print(shown, end=end, soft_wrap=not isinstance(shown, Panel), highlight=False, markup=False)


def console() -> Console:
    """Where to draw. rich takes a dumb terminal for one of 80 columns, whatever it says."""
    if os.environ.get("TERM", "").lower() not in ("dumb", "unknown"):
        return Console()
    size = shutil.get_terminal_size()
    return Console(width=size.columns, height=size.lines)
