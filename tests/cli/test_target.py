"""From TARGET to a team."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from relayline.cli.target import examples, load
from relayline.errors import BuildError, UsageError, WorldError

TEAM = Path(__file__).with_name("team.py")
MADE = """
from relayline import Agent, HandoffBuilder
builder = HandoffBuilder(name="made", participants=[Agent("a"), Agent("b")])
def make(): return builder.build()
def with_arguments(x): return x
async def later(): return builder.build()
class Team: ...
number = 3
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current folder of one's own; what is imported from it is forgotten."""
    monkeypatch.chdir(tmp_path)
    path, modules = sys.path[:], set(sys.modules)
    yield tmp_path
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if not name.startswith(("relayline.", "yaml")):  # half of a package loaded anew is two packages
            del sys.modules[name]


def write(name: str, text: str) -> None:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


@pytest.mark.parametrize(
    "target", ["made:builder", "made:make", "made.py:builder", "made.py", "./made.py:make", "made"]
)
def test_the_ways_to_name_a_team(target: str):
    """A module or a file, and in it a workflow, a builder or a function; without a name, the only one there."""
    write("made.py", MADE)
    assert load(target).name == "made"


def test_a_builder_of_any_pattern_is_a_team():
    """Not of handoffs alone."""
    write(
        "line.py", "from relayline import Agent, SequentialBuilder\nline = SequentialBuilder(participants=[Agent('a')])"
    )
    assert load("line.py").name == "sequential"


def test_a_file_alone_means_its_workflow():
    """A workflow is preferred to the builder that made it."""
    assert load(str(TEAM)).name == "desk"


def test_a_file_inside_a_package_may_import_its_siblings():
    """A file that belongs to a package is imported as part of it."""
    write("shop/__init__.py", "")
    write("shop/names.py", "NAME = 'inside'")
    write(
        "shop/desk.py",
        "from relayline import Agent, HandoffBuilder\nfrom .names import NAME\n"
        "team = HandoffBuilder(name=NAME, participants=[Agent('a')]).build()",
    )
    assert load("shop/desk.py").name == "inside"
    assert load("shop.desk:team").name == "inside"


def test_the_example_is_the_default():
    """Nothing given means the support desk, and its name means it too."""
    assert "support" in examples()
    assert load(None).name == load("support").name == "support"


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("nowhere:team", "there is no module 'nowhere'"),
        ("nowhere", "there is no module 'nowhere'"),
        ("not a name", "neither a module, a file ending in .py nor an example"),
        ("nowhere.py", "there is no file"),
        (":team", "give MODULE:NAME"),
        ("made.py:", "give MODULE:NAME"),
        ("made:nothing", "there is no 'nothing' in the module 'made'; say which, with :NAME. It has builder"),
        ("made:number", "'number' in the module 'made' is no workflow but of type int"),
        ("made:Team", "is no workflow but of type type"),
        ("made:with_arguments", "a function that takes arguments"),
        ("made:later", "give a function that is not async"),
        ("empty.py", "there is no team in empty.py; it has no workflow at all"),
        ("two.py", "there is more than one team in two.py; say which, with :NAME. It has one, two"),
        ("unbuildable.py:team", "the team cannot be built as declared\n- RL102 two participants are called 'a'"),
        ("broken.py", "- RL101 unknown agent 'x'"),
    ],
)
def test_what_is_wrong_is_said(target: str, says: str):
    """Each mistake gets a sentence that says what there is instead."""
    write("made.py", MADE)
    write("empty.py", "x = 1")
    write("two.py", f"{MADE}\none = make()\ntwo = make()\nagain = one\nbuilder.with_start_agent('b')")
    start = "from relayline import Agent, HandoffBuilder\n"
    write("unbuildable.py", f"{start}team = HandoffBuilder(participants=[Agent('a'), Agent('a')])")
    write("broken.py", f"{start}team = HandoffBuilder(participants=[Agent('a')]).with_start_agent('x').build()")
    with pytest.raises(UsageError) as caught:
        load(target)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("\n1 / 0", "ZeroDivisionError: division by zero ("),
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("def (", "SyntaxError: "),
        ("raise SystemExit('enough')", "SystemExit: enough"),
    ],
)
def test_a_module_that_raises(code: str, says: str):
    """Code that raises when it is imported is quoted with its last line and its place."""
    write("bad.py", code)
    for target in ("bad.py", "bad:team"):
        with pytest.raises(WorldError) as caught:
            load(target)
        assert says in str(caught.value)
        assert "bad.py" in str(caught.value)


TEAM_FILE = "name: filed\nparticipants: [{name: a, tools: ['beside:find']}]\n"


def test_a_team_in_a_yaml_file():
    """What it names is found beside it, once it is allowed, and the folder is no place for modules afterwards."""
    write("teams/team.yaml", TEAM_FILE)
    write("teams/beside.py", "def find(title: str) -> str:\n    return title\n")
    before = sys.path[:]
    with pytest.raises(BuildError, match="RL306 team.yaml, line 2: 'beside:find' is not allowed"):
        load("teams/team.yaml")
    assert "beside" not in sys.modules
    assert load("teams/team.yaml", ["beside"]).agents[0].tools[0].name == "find"
    assert sys.path == before


def test_a_file_beside_a_team_does_not_stand_in_for_a_module_of_python():
    """The folder of a file comes last: who allows `json` means the one everybody means."""
    write("team.yaml", "participants: [{name: a, tools: ['colorsys:find']}]")
    write("colorsys.py", "def find(title: str) -> str:\n    return title\n")
    sys.modules.pop("colorsys", None)
    sys.path[:] = [each for each in sys.path if each not in ("", str(Path.cwd()))]
    with pytest.raises(BuildError, match="there is no 'find' in 'colorsys'"):
        load("team.yaml", ["colorsys"])


def test_code_needs_no_permission():
    """A team in code imports what it likes, and to say otherwise would be a promise that is not kept."""
    with pytest.raises(UsageError, match="--allow is for a team in a YAML file"):
        load(str(TEAM), ["json"])
