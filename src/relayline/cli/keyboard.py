"""A person at a keyboard: a prompt with history and editing, and the choices of a card."""

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import cast

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import WordCompleter
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import AnyFormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input.typeahead import clear_typeahead
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.shortcuts import CompleteStyle
from prompt_toolkit.styles import Style

from relayline.cli.calls import as_json
from relayline.cli.clean import clean, one_line
from relayline.cli.conversation import Command, Move, Person, Respond, Say
from relayline.cli.slash import COMMANDS, as_command, turn_hint
from relayline.cli.terminal import TerminalScreen
from relayline.messages import JSON, ToolCall
from relayline.runtime.requests import FunctionApprovalRequestContent, InterruptedCallRequest
from relayline.runtime.stream import WorkflowEvent

STYLE = Style.from_dict({"you": "bold", "choice": "ansiyellow", "rprompt": "ansibrightblack"})


class Keyboard(Person):
    """Asks at a prompt of its own kind for words, for a decision and for edited arguments."""

    patient = True

    def __init__(self, screen: TerminalScreen, history: Path | None) -> None:
        self._screen = screen
        self._words = self._prompt(FileHistory(str(history)) if history else InMemoryHistory())
        self._choice = self._prompt(InMemoryHistory())
        self._drafts: dict[str, str] = {}  # arguments as last edited, by request
        self._asked = ""  # the request whose card is on the screen
        self._mark: AnyFormattedText = [("class:choice", f"{screen.glyphs.prompt} ")]

    async def say(self) -> Move:
        self._screen.leave()
        print()
        line = await self._read(self._words, [("class:you", f"you {self._screen.glyphs.prompt} ")])
        return line if line is None or isinstance(line, Command) else Say(line)

    async def decide(self, request: WorkflowEvent, problem: str) -> Move:
        if problem:
            self._screen.problem(problem)
            return await self._edit(request, request.data.function_call)
        if request.request_id != self._asked:
            # What was typed before the card was there cannot be an answer to it.
            clear_typeahead(self._choice.input)
            drop_keys()
            self._screen.card(request, request.data.function_call)
            self._asked = request.request_id
        if isinstance(request.data, InterruptedCallRequest):
            return await self._outcome(request.data)
        return await self._approval(request)

    async def take_turn(self, request: WorkflowEvent, colleagues: Sequence[str], problem: str) -> Move:
        self._screen.leave()
        if problem:
            self._screen.problem(problem)
        if request.request_id != self._asked:
            # What was typed before was said as the user.
            clear_typeahead(self._words.input)
            drop_keys()
            self._asked = request.request_id
            print()
            self._screen.hint(turn_hint(request.executor_id, colleagues))
        who = f"{one_line(request.executor_id)} (a person of the team) {self._screen.glyphs.prompt} "
        line = await self._read(self._words, [("class:you", who)])
        return line if line is None or isinstance(line, Command) else Say(line)

    @contextmanager
    def waiting(self, stop: Callable[[], object]) -> Generator[None]:
        self._asked = ""

        def interrupted() -> None:
            clear_typeahead(self._words.input)  # what was typed ahead was meant for a turn that went on
            stop()

        with quiet_keys(), on_interrupt(interrupted):
            yield

    async def _approval(self, request: WorkflowEvent) -> Move:
        while True:
            line = await self._choose("y runs it, n and a reason refuses it, e edits the arguments")
            if line is None or isinstance(line, Command):
                return line
            word, _, reason = line.partition(" ")
            match word.lower().rstrip(",.:"):
                case "y" | "yes" if not reason:
                    return Respond(FunctionApprovalRequestContent.create_response(approved=True))
                case "n" | "no":
                    why = reason.strip() or await self._why()
                    if why is not None:
                        return Respond(FunctionApprovalRequestContent.create_response(approved=False, reason=why))
                case "e" | "edit" if not reason:
                    return await self._edit(request, request.data.function_call)
                case _:
                    self._screen.tell(f"{line!r} is none of the choices: y, n or e.")

    async def _outcome(self, request: InterruptedCallRequest) -> Move:
        while True:
            line = await self._choose("r runs it again; or say what it did, as you found out")
            if line is None or isinstance(line, Command):
                return line
            if line.lower() in ("r", "run", "again", "run again"):
                return Respond(request.run_again())
            if len(line.split()) > 1:
                return Respond(request.create_response(line))
            self._screen.tell(f"{line!r} does not say what it did: the agent will read it as the result of the call.")

    async def _choose(self, choices: str) -> str | Command | None:
        self._screen.hint(choices)
        return await self._read(self._choice, self._mark)

    async def _why(self) -> str | None:
        """The reason for a refusal, perhaps none; None to choose once more."""
        self._screen.hint("why? Enter alone gives no reason")
        try:
            return clean(await self._choice.prompt_async(self._mark)).strip()
        except EOFError:
            return None

    async def _edit(self, request: WorkflowEvent, call: ToolCall) -> Move:
        """Edited arguments, once they are JSON; nothing more than Enter on an empty line gives up."""
        draft = self._drafts.get(request.request_id) or as_json(call)
        while True:
            self._screen.hint("edit and press Enter; emptied, it stays as it was")
            try:
                text = await self._choice.prompt_async("", default=draft)
            except EOFError:
                text = ""
            if not text.strip():
                self._drafts.pop(request.request_id, None)
                return await self._approval(request)
            draft = self._drafts[request.request_id] = text
            try:
                edited = json.loads(text)
            except ValueError as error:
                self._screen.problem(f"this is not JSON: {error}")
                continue
            if isinstance(edited, dict):
                arguments = cast("dict[str, JSON]", edited)
                return Respond(FunctionApprovalRequestContent.create_response(approved=True, arguments=arguments))
            self._screen.problem('arguments are a JSON object, such as {"amount": 5}')

    async def _read(self, prompt: PromptSession[str], message: AnyFormattedText) -> str | Command | None:
        """A line with something on it, a command, or None to leave."""
        while True:
            try:
                line = clean(await prompt.prompt_async(message)).strip()
            except EOFError:
                return None
            if line.startswith("/") and (command := as_command(line)):
                return command
            if line:
                return line

    def _prompt(self, history: History) -> PromptSession[str]:
        keys = KeyBindings()
        warned = False

        @keys.add("enter")
        def _(event: KeyPressEvent) -> None:
            nonlocal warned
            warned = False
            event.current_buffer.validate_and_handle()

        @keys.add("escape", "enter")
        def _(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        @keys.add("<sigint>")  # Ctrl-C at the moment when the prompt is there, and the terminal not its own yet
        @keys.add("c-c")
        def _(event: KeyPressEvent) -> None:
            nonlocal warned
            if warned and not event.current_buffer.text:
                event.app.exit(exception=EOFError)
            event.current_buffer.reset()
            warned = True

        session: PromptSession[str] = PromptSession(
            history=history,
            multiline=True,
            key_bindings=keys,
            completer=WordCompleter([f"/{name}" for name in COMMANDS], sentence=True),
            complete_style=CompleteStyle.READLINE_LIKE,
            complete_while_typing=False,
            enable_history_search=Condition(lambda: True),
            style=STYLE,
            rprompt=lambda: "Ctrl-C again, or Ctrl-D, leaves" if warned and not session.default_buffer.text else "",
        )
        return session


@contextmanager
def on_interrupt(action: Callable[[], object] = lambda: None) -> Generator[None]:
    """Ctrl-C does ``action`` on the event loop, and nothing else; nothing at all by default.

    Not ``loop.add_signal_handler``: that is missing on Windows, and taking it away again does not bring back what was
    there before.
    """
    loop = asyncio.get_running_loop()

    def interrupted(_signal: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(action)

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)


def drop_keys() -> None:
    """Forget what was typed and not read yet."""
    try:
        import termios
    except ImportError:
        return
    termios.tcflush(sys.stdin, termios.TCIFLUSH)


@contextmanager
def quiet_keys() -> Generator[None]:
    """What is typed meanwhile is not echoed; it waits for the next prompt. Ctrl-C still interrupts."""
    try:
        import termios
    except ImportError:  # Windows does not echo what nobody reads
        yield
        return
    before = termios.tcgetattr(sys.stdin)
    quiet = [*before[:3], before[3] & ~termios.ECHO, *before[4:]]
    termios.tcsetattr(sys.stdin, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)
