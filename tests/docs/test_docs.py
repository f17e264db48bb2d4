"""The README and the pages under docs/ are run, and what they point at is looked for.

How a page is written so that this works:

- ```` ```python ```` blocks of one page are one program, run from top to bottom in an empty folder. ``await`` may stand at
  the top level. What cannot run is marked ``text``.
- ```` ```python title="team.py" ```` is a file: it is written to that folder, and run by whoever imports or starts it.
  So is ```` ```yaml title="team.yaml" ````.
- ```` ```python title="examples/hello.py" ```` is a file of this repository, letter by letter; it has tests of its own.
  ```` ```python part="examples/hello.py" ```` is a passage of it.
- ```` ```output ```` is what the Python block before it prints. ``...`` stands for anything.
- ```` ```console ```` holds commands after ``$`` with what they print: ``python ...`` is run, and so is ``relayline ...``
  if something is printed; ``examples/...`` is a file of this repository. After ``relayline chat`` what stands behind a
  prompt is typed, and all of it is what a terminal shows. In ``sh`` and ``console`` alike every ``relayline`` command is
  read as the command line would read it, and every ``make`` target has to exist.
- ```` ```mermaid ```` is what the ``relayline graph ... --format mermaid`` before it prints.
"""

import asyncio
import contextlib
import doctest
import io
import os
import re
import shlex
import subprocess
import sys
from ast import PyCF_ALLOW_TOP_LEVEL_AWAIT
from collections.abc import Iterator
from dataclasses import dataclass
from inspect import CO_COROUTINE
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [path for path in (ROOT / "README.md", *sorted(DOCS.rglob("*.md"))) if path.is_file()]
FENCE = re.compile(r"^```(\w*)(?: +(title|part)=\"([\w./]+)\")? *$")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|<(?:img|source)[^>]* src(?:set)?=\"([^\"]+)\"")
ALIKE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


@dataclass(frozen=True)
class Block:
    """A fenced block. ``kind``: what ``title`` names, a whole file or a part of one. ``line``: of its first line in the
    page, counted from 1.
    """

    language: str
    kind: str
    title: str
    line: int
    text: str


def blocks(page: Path) -> Iterator[Block]:
    opened, kept = None, []
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        fence = FENCE.match(line)
        if opened is None and fence:
            opened, kept = (fence[1], fence[2] or "", fence[3] or "", number + 1), []
        elif opened is not None and line == "```":
            yield Block(*opened, "\n".join(kept) + "\n")
            opened = None
        else:
            assert opened is not None or not line.startswith("```"), f"{page.name}:{number}: a fence nobody understands"
            kept.append(line)
    assert opened is None, f"{page.name}: a fence is not closed"


def prose(page: Path) -> str:
    """The page without its blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def same(said: str, printed: str) -> bool:
    return doctest.OutputChecker().check_output(said, printed, ALIKE)


class Program:
    """The Python blocks of one page, in one namespace and on one event loop."""

    def __init__(self, page: Path) -> None:
        self.page = page
        self.names: dict[str, object] = {"__name__": "__main__"}
        self.printed = ""

    def run(self, block: Block, runner: asyncio.Runner) -> None:
        text = "\n" * (block.line - 1) + block.text  # so that a traceback points into the page
        code = compile(text, str(self.page), "exec", PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
        with contextlib.redirect_stdout(io.StringIO()) as out:
            result = eval(code, self.names)  # noqa: S307  our own pages
            if code.co_flags & CO_COROUTINE:
                runner.run(result)
        self.printed = out.getvalue()


@every_page
def test_every_snippet_runs_and_prints_what_it_says(
    page: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    request: pytest.FixtureRequest,
):
    """A reader who types a page in gets what the page shows, and no warning about the team."""
    if "DATABASE_URL" in page.read_text("utf-8"):  # only then is a server started
        monkeypatch.setenv("DATABASE_URL", request.getfixturevalue("dsn"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    program, drawn = Program(page), ""
    with asyncio.Runner() as runner:
        for block in blocks(page):
            where = f"{page.name}:{block.line}"
            match block.language:
                case "python" | "yaml" if block.kind == "part":
                    assert block.text in (ROOT / block.title).read_text("utf-8"), f"{where}: not in the file"
                case "python" | "yaml" if "/" in block.title:
                    assert block.text == (ROOT / block.title).read_text("utf-8"), f"{where}: not what is in the file"
                case "python" | "yaml" if block.title:
                    if block.language == "python":
                        compile(block.text, block.title, "exec")
                    (tmp_path / block.title).write_text(block.text, "utf-8")
                case "python":
                    program.run(block, runner)
                case "output":
                    assert same(block.text, program.printed), f"{where}: it prints\n{program.printed}"
                case "console":
                    for command, said in session(block):
                        if command[:2] == ["relayline", "graph"] and not said.strip():
                            drawn = typed(command, tmp_path)
                        elif command[:2] == ["relayline", "chat"] and PROMPT in said:
                            shown = runner.run(talked(command, said))
                            assert same(said, shown), f"{where}: {shlex.join(command)} shows\n{shown}"
                        elif command[0] == "python" or (command[0] == "relayline" and said):
                            printed = typed(command, tmp_path)
                            assert same(said, printed), f"{where}: {shlex.join(command)} prints\n{printed}"
                case "mermaid":
                    assert block.text == drawn, f"{where}: it is drawn as\n{drawn}"
                case "json":
                    raise AssertionError(f"{where}: a json block is not checked by anything here; say text")
                case _:
                    pass
    assert [each.getMessage() for each in caplog.records if each.name == "relayline"] == []


def session(block: Block) -> Iterator[tuple[list[str], str]]:
    """The commands of a console block, each with what it prints."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        line, _, said = part.partition("\n")
        yield shlex.split(line, comments=True), said


PROMPT = "you \N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK} "
CHOICE = "\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK} "


async def talked(command: list[str], said: str) -> str:
    """What a terminal shows of a chat in which is typed what stands behind the prompts of ``said``."""
    pytest.importorskip("rich")
    from rich.console import Console

    from relayline.cli.conversation import Conversation, Opening, Person, Respond, Say
    from relayline.cli.slash import Slash
    from relayline.cli.target import load
    from relayline.cli.terminal import TerminalScreen
    from relayline.cli.voice import about, given_voice
    from relayline.clients import weights

    weights.fetch()
    lines = iter(re.findall(rf"^(?:{PROMPT}|{CHOICE})(.*)$", said, re.MULTILINE))
    workflow = given_voice(load(str(ROOT / command[2])), None)
    console = Console(file=io.StringIO(), width=88, _environ={})
    shown, screen = "", TerminalScreen(console, [agent.name for agent in workflow.agents])

    class Reader(Person):
        patient = True

        async def say(self):
            nonlocal shown
            screen.leave()
            shown = console.file.getvalue()
            line = next(lines, None)
            if line is None:
                return None
            console.print(f"\n{PROMPT}{line}")
            return Say(line)

        async def decide(self, request, problem):
            screen.card(request, request.data.function_call)
            screen.hint("y runs it, n and a reason refuses it, e edits the arguments")
            line = next(lines)
            console.print(f"{CHOICE}{line}")
            return Respond(request.data.create_response(approved=line == "y", reason=line.partition(" ")[2]))

        def waiting(self, stop):
            return contextlib.nullcontext()

    opening = Opening(workflow, about(workflow), f"{workflow.name}-7fb613", True, "")
    await Conversation(opening, screen, Reader(), Slash(workflow, opening.about)).hold()
    return shown


def typed(command: list[str], folder: Path) -> str:
    command = [str(ROOT / word) if word.startswith("examples/") else word for word in command]
    program = ["-m", "relayline.cli", *command[1:]] if command[0] == "relayline" else command[1:]
    if program[0] == "-m" and program[1] == "relayline.cli":
        pytest.importorskip("typer")
    done = subprocess.run(
        [sys.executable, *program],
        cwd=folder,
        env={
            # What is set here and not at a reader's desk would change what is printed.
            **{name: value for name, value in os.environ.items() if not name.startswith(("RELAYLINE", "PYTEST", "CI"))},
            "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), *filter(None, sys.path)]),
            "PYTHONWARNINGS": "error",
            "XDG_DATA_HOME": str(folder),
            "COLUMNS": "120",
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,  # a page may show a failure
    )
    return done.stdout


def commands(page: Path) -> Iterator[tuple[int, list[str]]]:
    """Every command line of a page, in blocks and in prose, with the number of its line or of its block's."""
    for block in blocks(page):
        if block.language == "console":
            yield from ((block.line, command) for command, _ in session(block))
        elif block.language in ("sh", "bash", "shell"):
            for line in block.text.splitlines():
                if words := shlex.split(line, comments=True):
                    yield block.line, words
    for number, line in enumerate(prose(page).splitlines(), 1):
        for code in re.findall(r"`(relayline [a-z][^`]*|make [a-z][^`]*)`", line):
            yield number, shlex.split(code)


@every_page
def test_every_relayline_command_is_one(page: Path):
    """What a page tells the reader to type is known to the command line, option by option."""
    pytest.importorskip("typer", reason="the command line is an extra")
    from typer.main import get_command

    from relayline.cli.commands import app

    for number, command in commands(page):
        if command[0] != "relayline":
            continue
        group, words = get_command(app), command[1:]
        try:
            while words and not words[0].startswith("-") and hasattr(group, "resolve_command"):
                context = group.make_context(command[0], [], resilient_parsing=True)
                _, group, words = group.resolve_command(context, words)
            known = {option for each in group.params for option in (*each.opts, *each.secondary_opts)}
            if words and words[-1] in {"-h", "--help", "--version"}:
                assert words[-1] in {*known, "-h", "--help"}
            elif not hasattr(group, "resolve_command") or words:
                group.make_context(command[0], words)
        except Exception as error:
            raise AssertionError(f"{page.name}, line {number}: {shlex.join(command)}: {error!r}") from error


@every_page
def test_every_make_target_exists(page: Path):
    """A `make` command in a page is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    for number, command in commands(page):
        if command[0] == "make":
            named = [word for word in command[1:] if "=" not in word]
            assert set(named) <= targets, f"{page.name}, line {number}: {shlex.join(command)}"


def anchors(page: Path) -> set[str]:
    """The headings of a page, as links name them."""
    titles = re.findall(r"^#+ +(.+?) *$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@every_page
def test_every_link_leads_somewhere(page: Path):
    """Relative links and images are files of this repository, and what follows the # is a heading there."""
    for found in LINK.finditer(prose(page)):
        target = found[1] or found[2]
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        leads = (page.parent / path).resolve() if path else page
        assert leads.exists(), f"{page.name} links to {target}, which is not there"
        assert leads.is_relative_to(ROOT), f"{page.name} links to {target}, out of the repository"
        if anchor:
            assert anchor in anchors(leads), f"{page.name} links to {target}; there are {sorted(anchors(leads))}"


@every_page
def test_every_test_a_page_names_exists(page: Path):
    """Where a page says which test holds a promise, that test is there."""
    named = set(re.findall(r"`(test_\w+)`", prose(page)))
    text = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert named <= set(re.findall(r"^(?:async )?def (test_\w+)\(", text, re.MULTILINE))


def test_every_page_is_in_the_index():
    """Nobody has to guess that a page exists."""
    index = DOCS / "index.md"
    linked = {(DOCS / found[1]).resolve() for found in LINK.finditer(index.read_text("utf-8")) if found[1]}
    assert {path for path in PAGES if path.is_relative_to(DOCS)} - {index} <= linked


def test_every_picture_is_readable_on_its_own():
    """A picture has a title and a description for who cannot see it, and says what to do with a dark page."""
    for path in (DOCS / "images").glob("*.svg"):
        text = path.read_text("utf-8")
        assert "<title" in text
        assert "<desc" in text
        assert "prefers-color-scheme: dark" in text
