"""Strict stand-ins for six providers: what each would be sent, and a judge that refuses what the real one refuses.

A judge takes the body as it would be posted, from these renderers or any other::

    PROVIDERS["anthropic"].check(body)

The rules are those of conversations and tools, each with where it was seen. Settings are nobody's business here, and
neither are thoughts, a provider's own tools, what is in an image, and what costs only tokens.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from relayline.agent import ChatRequest
from relayline.testing.providers.anthropic import check_anthropic, render_anthropic
from relayline.testing.providers.deepseek import check_deepseek, render_deepseek
from relayline.testing.providers.gemini import check_gemini, render_gemini
from relayline.testing.providers.mistral import check_mistral, render_mistral
from relayline.testing.providers.openai_chat import check_openai_chat, render_openai_chat
from relayline.testing.providers.openai_responses import check_openai_responses, render_openai_responses
from relayline.testing.providers.rules import Body


@dataclass(frozen=True, slots=True)
class Provider:
    """One wire. ``render``: a request as its body, plainly. ``check``: an `AssertionError` for a body it refuses."""

    render: Callable[[ChatRequest], dict[str, Any]]
    check: Callable[[Body], None]


PROVIDERS: Mapping[str, Provider] = {
    "openai-chat": Provider(render_openai_chat, check_openai_chat),
    "openai-responses": Provider(render_openai_responses, check_openai_responses),
    "anthropic": Provider(render_anthropic, check_anthropic),
    "gemini": Provider(render_gemini, check_gemini),
    "mistral": Provider(render_mistral, check_mistral),
    "deepseek": Provider(render_deepseek, check_deepseek),
}


def check_everywhere(request: ChatRequest) -> None:
    """Refuse a request that, rendered plainly, any of the six would refuse; one with images is, by DeepSeek.

    Raises:
        AssertionError: with one sentence that names the provider, the message and the rule.
    """
    for name, provider in PROVIDERS.items():
        try:
            provider.check(provider.render(request))
        except AssertionError as problem:
            raise AssertionError(f"{name}: {problem}") from None
