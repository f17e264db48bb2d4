"""Functions that have a turn: what they return is what they say, and they may ask a person on the way."""

from relayline.events import Asked, Replied, Warned
from relayline.machine.draft import Draft
from relayline.machine.inputs import Wondered
from relayline.machine.state import Turn
from relayline.machine.turns import end
from relayline.messages import Message, Text


def returned(draft: Draft, turn: Turn, content: str) -> None:
    """A function is done; if it returned nothing, nothing is said."""
    parts = (Text(content),) if content else ()
    draft.add(Replied(turn.number, Message("assistant", parts, turn.agent)))
    end(draft, draft.state.open[turn.number])


def wondered(draft: Draft, given: Wondered) -> None:
    """A function cannot go on before it knows something."""
    for turn in draft.state.open.values():
        for each in turn.calls:
            if each.call.id == given.effect and each.stage == "started" and turn.agent in draft.rules.functions:
                if given.unfit:
                    draft.add(Warned("answer_invalid", given.unfit, turn.agent))
                request = f"r{draft.state.asked + 1}"
                asked = Asked(request, "info", turn.number, turn.agent, each.call, data=given.data, schema=given.schema)
                draft.add(asked)
                return
