"""List prices of models, from the package genai-prices (the extra ``models``)."""

from decimal import Decimal
from functools import cache

from relayline.errors import MissingExtra

try:
    from genai_prices import Usage, calc_price
except ImportError as missing:
    raise MissingExtra("prices of models need genai-prices: pip install 'relayline[models]'") from missing


def list_price(model: str, input_tokens: int, cached_tokens: int, output_tokens: int) -> Decimal | None:
    """What a call costs in US dollars by the list of the day; None, if the list does not have the model.

    ``model``: ``"provider:model"``. ``input_tokens`` includes the ``cached_tokens``.
    """
    provider, _, name = model.partition(":")
    if not name or model in _unknown():
        return None
    usage = Usage(
        input_tokens=input_tokens, cache_read_tokens=min(cached_tokens, input_tokens), output_tokens=output_tokens
    )
    try:
        return calc_price(usage, model_ref=name, provider_id=provider).total_price
    except (LookupError, ValueError):
        _unknown().add(model)
        return None


@cache
def _unknown() -> set[str]:
    """Asked for before and not found: looking through the whole list takes long."""
    return set()
