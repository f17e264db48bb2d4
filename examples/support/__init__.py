"""The support desk of a small kitchenware shop. `relayline chat` talks to it unless told otherwise."""

# Relative, because this folder is `examples.support` in a checkout and `relayline.examples.support` once installed.
from .desk import workflow  # noqa: TID252

__all__ = ["workflow"]
