"""From what is typed as TARGET to the team it means."""

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import ModuleType
from typing import TypeVar

import relayline
from relayline.assembled import TeamBuilder
from relayline.errors import BuildError, UsageError, WorldError
from relayline.workflow import Workflow

T = TypeVar("T")

DEFAULT = "support"
YAML = (".yaml", ".yml")


def load(target: str | None, allow: Sequence[str] = ()) -> Workflow:
    """The workflow that ``target`` names: ``MODULE:NAME``, ``file.py:NAME``, ``file.py``, ``team.yaml``, or a shipped
    example. ``allow``: what a YAML file may name of code.

    Raises:
        UsageError: there is no such module, file, example or name, or it is no workflow.
        BuildError: the team cannot be built as declared.
        WorldError: the code behind it raised.
        MissingExtra: YAML cannot be read here.
    """
    target = target or DEFAULT
    if target.lower().endswith(YAML):
        return _from_yaml(Path(target).expanduser(), allow)
    if allow:
        raise UsageError(f"--allow is for a team in a YAML file; {target!r} is code, which imports what it likes")
    place, name = _split(target)
    if not name and place in examples():
        module, source = _example(place), f"the example {place!r}"
    elif place.endswith(".py"):
        module, source = _from_file(Path(place)), place
    else:
        module, source = _from_name(place), f"the module {place!r}"
    if name:
        return _as_workflow(_named(module, name, source), f"{name!r} in {source}")
    return _as_workflow(_only(module, source), source)


def examples() -> Mapping[str, Path]:
    """The teams that come with relayline, by name."""
    package = Path(relayline.__file__).parent
    # An installed copy has them inside; a checkout has them at the root of the repository.
    for folder in (package / "examples", package.parent.parent / "examples"):
        if found := {path.parent.name: path for path in sorted(folder.glob("*/__init__.py"))}:
            return found
    return {}


def _from_yaml(path: Path, allow: Sequence[str]) -> Workflow:
    from relayline.teamfile import read

    with _also_found(path.absolute().parent, Path.cwd()) if allow else nullcontext():
        try:
            return read.load(path, allow)
        except BuildError as error:
            problems = "".join(f"\n- {problem}" for problem in error.problems)
            raise BuildError(f"the team in {path} cannot be built as declared{problems}") from error


@contextmanager
def _also_found(*folders: Path) -> Generator[None]:
    """Modules in these folders can be imported, after all others: a file there must not stand in for one of Python."""
    before = [*sys.path]
    sys.path.extend(map(str, folders))
    try:
        yield
    finally:
        sys.path[:] = before


def _split(target: str) -> tuple[str, str]:
    place, colon, name = target.rpartition(":")
    if not colon or (len(place) == 1 and name[:1] in ("\\", "/")):  # C:\team.py
        return target, ""
    if not place or not name.replace(".", "").isidentifier():
        raise UsageError(f"{target!r} is no team: give MODULE:NAME, file.py:NAME, file.py or an example ({_known()})")
    return place, name


def _example(name: str) -> ModuleType:
    path = examples()[name]
    return _load(f"relayline_example_{name}", path, f"the example {name!r}", [str(path.parent)])


def _from_file(path: Path) -> ModuleType:
    path = path.expanduser().absolute()
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    root = path.parent
    while (root / "__init__.py").is_file():
        root = root.parent
    sys.path.insert(0, str(root))
    if root != path.parent:  # it may import its siblings relatively
        return _import(".".join(path.relative_to(root).with_suffix("").parts))
    return _load(f"relayline_target_{path.stem}", path, path.name)


def _from_name(name: str) -> ModuleType:
    sys.path.insert(0, str(Path.cwd()))
    if not all(part.isidentifier() for part in name.split(".")):
        raise UsageError(f"{name!r} is neither a module, a file ending in .py nor an example ({_known()})")
    return _import(name)


def _load(name: str, path: Path, shown: str, submodules: list[str] | None = None) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=submodules)
    assert spec is not None  # as any file that ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # as an import would: dataclasses and annotations look their module up by name
    execute = spec.loader.exec_module
    _guarded(lambda: execute(module), f"importing {shown}")
    return module


def _import(name: str) -> ModuleType:
    try:
        return _guarded(lambda: importlib.import_module(name), f"importing {name}")
    except WorldError as error:
        missing = error.__cause__
        if isinstance(missing, ModuleNotFoundError) and missing.name and f"{name}.".startswith(f"{missing.name}."):
            raise UsageError(
                f"there is no module {missing.name!r} here or among the installed packages; "
                f"examples that need none: {_known()}"
            ) from None
        raise


def _guarded(work: Callable[[], T], doing: str) -> T:
    """What ``work`` returns; whatever it raises becomes one sentence."""
    try:
        return work()
    except BuildError as error:
        problems = "".join(f"\n- {problem}" for problem in error.problems)
        raise BuildError(f"{doing}: the team cannot be built as declared{problems}") from error
    except (Exception, SystemExit) as error:
        raise WorldError(f"{doing} failed: {_last_line(error)}") from error


def _last_line(error: BaseException) -> str:
    said = traceback.format_exception_only(error)[-1].strip()
    if isinstance(error, SyntaxError):  # it is where it says, not where it was raised
        return f"{said} ({error.filename}, line {error.lineno})"
    frames = traceback.extract_tb(error.__traceback__)
    where = next((each for each in reversed(frames) if "importlib" not in each.filename), None)
    if where is None or where.filename == __file__:
        return said
    return f"{said} ({where.filename}, line {where.lineno})"


def _named(module: ModuleType, name: str, source: str) -> object:
    value: object = module
    for part in name.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            raise UsageError(f"there is no {name!r} in {source}; {_offer(module)}") from None
    return value


def _only(module: ModuleType, source: str) -> object:
    found = _teams(module)
    if len(found) != 1:
        how_many = "more than one team" if found else "no team"
        raise UsageError(f"there is {how_many} in {source}; {_offer(module)}")
    return next(iter(found.values()))


def _teams(module: ModuleType) -> Mapping[str, object]:
    """The workflows of a module by their first name; the builders, if it has no workflow."""
    values = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    workflows = {name: value for name, value in values.items() if isinstance(value, Workflow)}
    found = workflows or {name: value for name, value in values.items() if _is_builder(value)}
    return {name: value for name, value in found.items() if name == _first_name(found, value)}


def _first_name(found: Mapping[str, object], value: object) -> str:
    return next(name for name, other in found.items() if other is value)


def _offer(module: ModuleType) -> str:
    found = _teams(module)
    if found:
        return f"say which, with :NAME. It has {', '.join(found)}"
    return "it has no workflow at all; HandoffBuilder(...).build() makes one"


def _is_builder(value: object) -> bool:
    return isinstance(value, TeamBuilder)


def _as_workflow(value: object, what: str) -> Workflow:
    if isinstance(value, Workflow):
        return value
    build = getattr(value, "build", None)
    if callable(build) and not isinstance(value, type):
        return _as_workflow(_guarded(build, f"building {what}"), f"what {what} builds")
    if inspect.isroutine(value) and not _needs_arguments(value):
        made = _guarded(value, f"calling {what}")
        if not inspect.isroutine(made):
            return _as_workflow(made, f"what {what} returns")
        value = made
    raise UsageError(f"{what} is no workflow but {_kind(value)}")


def _needs_arguments(function: Callable[..., object]) -> bool:
    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):
        return True
    return False


def _kind(value: object) -> str:
    if inspect.iscoroutine(value):
        value.close()
        return "a coroutine: give a function that is not async"
    if inspect.isroutine(value):
        return "a function that takes arguments: give one that takes none and returns the workflow"
    return f"of type {type(value).__name__}: give a Workflow, a builder, or a function that returns one"


def _known() -> str:
    return ", ".join(examples()) or "none installed"
