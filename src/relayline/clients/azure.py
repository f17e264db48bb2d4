"""How Azure is reached: its address, and its tokens instead of keys."""

import asyncio
import inspect
import time
from collections.abc import Awaitable
from typing import Any, Final, Protocol

SCOPE: Final = "https://cognitiveservices.azure.com/.default"
MARGIN: Final = 300  # seconds before its end that a token is used no more


class Token(Protocol):
    """What a credential gives: the token, and when it ends, in seconds since 1970."""

    @property
    def token(self) -> str: ...
    @property
    def expires_on(self) -> int: ...


class Credential(Protocol):
    """As those of the package azure-identity, sync or async."""

    def get_token(self, *scopes: str) -> Token | Awaitable[Token]: ...


def sdk(endpoint: str, key: str | Credential, version: str | None) -> Any:
    """The client of OpenAI's library for ``endpoint``. ``version``: of an API that is older than the one without."""
    from openai import AsyncAzureOpenAI, AsyncOpenAI

    token = None if isinstance(key, str) else _Tokens(key)
    if version and isinstance(key, str):
        return AsyncAzureOpenAI(azure_endpoint=endpoint, api_version=version, api_key=key)
    if version:
        return AsyncAzureOpenAI(azure_endpoint=endpoint, api_version=version, azure_ad_token_provider=token)
    address = endpoint.rstrip("/").removesuffix("/openai/v1")
    return AsyncOpenAI(base_url=f"{address}/openai/v1/", api_key=key if isinstance(key, str) else token)


class _Tokens:
    """A credential's tokens, each used for most of its life: not every credential remembers them."""

    def __init__(self, credential: Credential) -> None:
        self._credential = credential
        self._token: Token | None = None

    async def __call__(self) -> str:
        if self._token is None or self._token.expires_on < time.time() + MARGIN:
            self._token = await self._ask()
        return self._token.token

    async def _ask(self) -> Token:
        ask = self._credential.get_token
        # One that is not async may start a program or call a server, which would hold up everybody.
        given = ask(SCOPE) if inspect.iscoroutinefunction(ask) else await asyncio.to_thread(ask, SCOPE)
        return await given if inspect.isawaitable(given) else given
