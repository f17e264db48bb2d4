"""Middleware: what is done around every effect, such as trying again. A function from one `Perform` to another.

::

    def logged(perform: Perform) -> Perform:
        async def around(effect: Effect, context: Context) -> Input:
            print("begins", effect.id)
            return await perform(effect, context)
        return around

    builder.with_middleware(logged, deadline(120), retry())  # the first is the outermost
"""

import asyncio
import random
from collections.abc import Callable
from decimal import Decimal
from typing import TypeAlias

from relayline.errors import ProviderError, UsageError
from relayline.machine.effects import CallModel, Effect
from relayline.machine.inputs import EffectFailed, Input, OutOfBudget
from relayline.runtime.perform import Context, Perform
from relayline.usage import Price, known_price, priced

Middleware: TypeAlias = Callable[[Perform], Perform]

PASSING = frozenset({408, 409, 429})
"""The refusals of a provider that a later request may not meet, beside all that begin with 5."""


def passes(error: BaseException | None) -> bool:
    """Whether what made a model call fail may be over by itself: a busy or broken provider, a lost connection."""
    if isinstance(error, ProviderError):
        return error.status is None or error.status in PASSING or error.status >= 500
    # Of other libraries' own: what says by its name that a connection failed, and what the system says.
    return isinstance(error, ConnectionError | TimeoutError | OSError) or type(error).__name__.startswith("Connect")


def retry(
    attempts: int = 4,
    *,
    wait: float = 1.0,
    longest: float = 60.0,
    when: Callable[[BaseException | None], bool] = passes,
) -> Middleware:
    """Call a model again that failed in a way that may pass, ``attempts`` times in all.

    ``wait``: seconds before the second attempt, twice as many before each one after, up to ``longest``, each a little
    shorter by chance so that many do not come back at once. If the provider says how long to wait, that counts; if it
    says longer than ``longest``, it is not tried again. Words of an attempt that died are shown again by the next one:
    ``message_delta`` events have an ``attempt``.

    Raises:
        UsageError: if ``attempts`` is not a whole number above 0.
    """
    if type(attempts) is not int or attempts < 1:
        raise UsageError(
            f"retry takes a number of attempts, 1 or more, as in retry(3) or retry(); got {attempts!r:.80}"
        )

    def around(perform: Perform) -> Perform:
        async def retried(effect: Effect, context: Context) -> Input:
            for attempt in range(1, attempts):
                outcome = await perform(effect, context)
                if not (isinstance(effect, CallModel) and isinstance(outcome, EffectFailed) and when(outcome.cause)):
                    return outcome
                asked = outcome.cause.retry_after if isinstance(outcome.cause, ProviderError) else None
                if asked is not None and asked > longest:
                    return outcome
                pause = min(longest, wait * 2 ** (attempt - 1)) * random.uniform(0.5, 1)
                await asyncio.sleep(pause if asked is None else asked)
            return await perform(effect, context)

        return retried

    return around


def spending(usd: float | Decimal, price: Price = known_price) -> Middleware:
    """Stop before a model call once the models took ``usd`` US dollars for one message of the user.

    As with `HandoffBuilder.with_budget`: the run ends with ``result.stopped``, and running the session again goes on
    with as much again. A model whose ``price`` nobody knows costs nothing here.

    Raises:
        UsageError: if ``usd`` is not a number above 0.
    """
    if not isinstance(usd, int | float | Decimal) or not usd > 0:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"spending takes US dollars, as in spending(0.50); got {usd!r:.80}")

    def around(perform: Perform) -> Perform:
        async def limited(effect: Effect, context: Context) -> Input:
            if isinstance(effect, CallModel):
                taken = context.session.state.since.taken
                cost = sum((priced(price, model, *tokens) or Decimal(0) for model, tokens in taken.items()), Decimal(0))
                if cost >= Decimal(str(usd)):
                    return OutOfBudget("money", f"the models took {cost:f} of {usd} US dollars")
            return await perform(effect, context)

        return limited

    return around


def deadline(seconds: float) -> Middleware:
    """Give a model ``seconds`` to reply, tries and waits of the middleware inside included.

    Then the run fails as with any other error of a model, and can be retried.

    Raises:
        UsageError: if ``seconds`` is not a number above 0.
    """
    if not isinstance(seconds, int | float) or not seconds > 0:  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"deadline takes a number of seconds, as in deadline(120); got {seconds!r:.80}")

    def around(perform: Perform) -> Perform:
        async def limited(effect: Effect, context: Context) -> Input:
            if not isinstance(effect, CallModel):
                return await perform(effect, context)
            try:
                async with asyncio.timeout(seconds):
                    return await perform(effect, context)
            except TimeoutError as error:
                return EffectFailed(
                    effect.id, "TimeoutError", f"no whole reply within {seconds:g} seconds", error, model=True
                )

        return limited

    return around
