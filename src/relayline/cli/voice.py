"""``--model``: who speaks for the agents."""

import importlib.util
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from relayline.agent import ChatClient, as_client
from relayline.errors import MissingExtra, RelaylineError, UsageError
from relayline.workflow import TeamAgent, Workflow

CHOICES = "embedded, gguf:PATH of a model file, or PROVIDER:MODEL"


def given_voice(workflow: Workflow, model: str | None) -> Workflow:
    """The team with a model for everyone.

    With ``model`` all agents speak through it; without, those with no client of their own through the embedded one.

    Raises:
        UsageError: there is no such model.
        MissingExtra: it needs packages that are not installed.
        WorldError: it is not here.
    """
    if model is not None:
        return workflow.with_client(_client(model), override=True)
    if workflow.mute:
        return workflow.with_client(_client("embedded"))
    return workflow


def about(workflow: Workflow) -> str:
    """Which models speak, and for whom if they are several; each as it describes itself, if it does."""
    voices: dict[str, list[str]] = {}
    for name, voice in _voices(workflow):
        voices.setdefault(voice, []).append(name)
    if len(voices) == 1:
        return next(iter(voices))
    return "\n".join(f"{', '.join(names)}: {voice}" for voice, names in voices.items())


def _voices(workflow: Workflow, path: str = "") -> Iterator[tuple[str, str]]:
    inner = {each.name: each.workflow for each in workflow.agents if isinstance(each, TeamAgent)}
    for name, seat in workflow.performer.seats.items():
        if name in inner:
            yield from _voices(inner[name], f"{path}{name}/")
        elif seat.client is None:
            yield path + name, "a function" if seat.function else "a person"
        else:
            yield path + name, _described(seat.client)


def warm_up(workflow: Workflow) -> None:
    """Begin to load what will be needed, while the person types: half a second for numpy, and as much for the texts."""
    from relayline.clients.local import EmbeddedClient

    seats = workflow.performer.seats.values()
    agents = [seat.agent for seat in seats if isinstance(seat.client, EmbeddedClient)]
    texts = [text for agent in agents for text in (agent.description, *agent.examples, *agent.knowledge)]

    def load() -> None:
        from relayline.clients.encoder import Encoder

        # What goes wrong here goes wrong again in the first turn, where it is told.
        with suppress(RelaylineError):
            encoder = Encoder.load()
            for text in texts:
                encoder.encode([text])

    if agents:
        threading.Thread(target=load, name="relayline-warm-up", daemon=True).start()


def _embedded() -> ChatClient:
    from relayline.clients import weights
    from relayline.clients.local import EmbeddedClient

    # Said now, and not when the first message has been typed.
    if not all(map(importlib.util.find_spec, weights.PACKAGES)):
        raise MissingExtra(weights.MISSING_EXTRA)
    weights.require()
    return EmbeddedClient()


def _described(client: ChatClient | None) -> str:
    return str(getattr(client, "about", None) or type(client).__name__)


def _client(model: str) -> ChatClient:
    kind, _, path = model.partition(":")
    match kind:
        case "embedded" if not path:
            return _embedded()
        case "gguf" if path:
            from relayline.clients.gguf import GgufClient

            return GgufClient(Path(path).expanduser())
        case _ if path and kind != "embedded":
            return as_client(model)
        case _:
            raise UsageError(f"there is no model {model!r}; there is {CHOICES}")
