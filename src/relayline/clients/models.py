"""Real models, of any provider, behind the one method of a `ChatClient` (the extra ``models``).

``client("openai:gpt-5-mini")`` is all that most need. The providers' own libraries are reached through pydantic-ai's
models; see `relayline.clients.transcript` for what a conversation becomes on the way.
"""

import asyncio
import difflib
import hashlib
import inspect
import json
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import suppress
from typing import Any, Final, TypeAlias, cast
from urllib.parse import urlsplit

from relayline.agent import ChatClient, ChatRequest, Chunk, ReplyInfo
from relayline.clients.azure import Credential, sdk
from relayline.errors import MissingExtra, ProviderError, UsageError
from relayline.messages import JSON, ToolCall

try:
    from pydantic_ai.direct import model_request_stream
    from pydantic_ai.exceptions import ModelAPIError, ModelHTTPError, UserError
    from pydantic_ai.messages import (
        ModelResponse,
        PartDeltaEvent,
        PartStartEvent,
        TextPart,
        TextPartDelta,
        ToolCallPart,
    )
    from pydantic_ai.models import Model, infer_model
    from pydantic_ai.providers import Provider, infer_provider_class
    from pydantic_ai.settings import ModelSettings

    from relayline.clients.transcript import Fits, Renderer, native
except ImportError as missing:
    raise MissingExtra("real models need pydantic-ai: pip install 'relayline[models]'") from missing

KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "openai": ("OPENAI_API_KEY",),
    "openai-chat": ("OPENAI_API_KEY",),
    "openai-responses": ("OPENAI_API_KEY",),
    "azure": ("AZURE_OPENAI_API_KEY",),
    "azure-responses": ("AZURE_OPENAI_API_KEY",),
    "anthropic": ("ANTHROPIC_API_KEY",),
    "google": ("GOOGLE_API_KEY", "GEMINI_API_KEY"),
    "groq": ("GROQ_API_KEY",),
    "mistral": ("MISTRAL_API_KEY",),
    "deepseek": ("DEEPSEEK_API_KEY",),
    "openrouter": ("OPENROUTER_API_KEY",),
    "ollama": (),
}
"""The providers that are tested, each with the environment variables its key may be in. Any other that pydantic-ai has
works the same way."""

OLLAMA: Final = "http://localhost:11434/v1"
AZURE: Final = ("azure", "azure-responses")
KEYED: Final = ("openai-chat", "openai-responses")  # at OpenAI itself; other servers may refuse a key for the cache
# What was said is in the journal, so nothing of it has to be kept at OpenAI. Anthropic keeps what it read for five
# minutes, if asked to: an agent that calls tools or is handed the conversation again is there before they are over.
DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = {
    "openai-responses": {"openai_store": False},
    "azure-responses": {"openai_store": False},
    "anthropic": {"cache": True},
}
NAMES: Final = tuple(ModelSettings.__annotations__)
OWN: Final = tuple(f"{each}_" for each in ("openai", "anthropic", "google", "groq", "mistral", "openrouter", "bedrock"))
Plan: TypeAlias = tuple[str, Callable[[], Model], Mapping[str, Any]]
REFUSED: Final = (400, 404, 415, 422)  # as different providers answer where a model takes no image
WORDS_ALONE: Final = ("deepseek",)
_WORDS: Final = (
    "If this is about an image or a file: what its model cannot take, {0.agent.name!r} can be shown as a note, "
    "with_view({0.agent.name!r}, views.words)"
)
ORDINARY: Final = (None, "stop", "tool_call")


class ModelClient(ChatClient):
    """A model of some provider; made by `client` and its siblings.

    ``name``: the provider's. ``build``: makes pydantic-ai's model. ``settings``: for all agents, unless theirs differ.
    """

    def __init__(self, name: str, build: Callable[[], Model], settings: Mapping[str, Any]) -> None:
        self._name = name
        self._build = build
        self._settings = settings
        self._models: dict[asyncio.AbstractEventLoop, tuple[Model, AsyncGenerator[None]]] = {}
        self._unused: Model | None = _guarded(name, build)  # made now, so that what is missing is said now
        self._id = f"{self._unused.system}:"
        self.about = f"{name.partition('@')[0]}:{self._unused.model_name}"
        profile: Mapping[str, Any] = self._unused.profile
        # On this wire thoughts are sealed, and models that do not reason cannot open them.
        thinks = "responses" not in name or bool(profile.get("openai_supports_encrypted_reasoning_content"))
        narrows = "@" not in name and bool("responses" in name or profile.get("openai_chat_supports_allowed_tools"))
        self._keyed = name in KEYED
        self._renderer = Renderer(
            name,
            self._unused.system,
            profile.get("tool_call_id_length"),
            thinks=thinks,
            narrows=narrows,
            fits=_fits(profile),
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.about!r})"

    async def stream(self, request: ChatRequest) -> AsyncGenerator[Chunk, None]:
        """The reply: words as they come, then its calls, then what it took.

        Raises:
            ProviderError: what the provider said, with its own exception as the cause.
            UsageError: if a setting of the agent or the run has no such name.
        """
        settings = {**self._settings, **self._cache_key(request), **_known(request.settings)}
        parameters, implied = self._renderer.parameters(request)
        narrowed = self._renderer.narrowed(request)
        messages = self._renderer.messages(request)
        shows = any(each.media for each in request.messages)
        if shows and self._name.startswith(WORDS_ALONE):
            raise ProviderError(f"{self.about} reads words alone, and the user sent more. {_WORDS.format(request)}")
        model = await self._model()
        try:
            async with model_request_stream(
                model,
                messages,
                model_settings=cast("ModelSettings", {**narrowed, **settings, **implied}),
                model_request_parameters=parameters,
            ) as reply:
                async for event in reply:
                    match event:
                        case PartDeltaEvent(delta=TextPartDelta(content_delta=words)) if words:
                            yield words
                        case PartStartEvent(part=TextPart(content=words)) if words:
                            yield words
                        case _:
                            pass
                whole = reply.get()
        except Exception as error:
            raise self._problem(error, _WORDS.format(request) if shows else "") from error
        if _broke_off(whole):
            raise ProviderError(f"{self.about} broke off in the middle of a reply")
        for part in whole.parts:
            if isinstance(part, ToolCallPart):
                yield ToolCall(part.tool_call_id, part.tool_name, _as_written(part))
        yield self._info(whole)

    async def _model(self) -> Model:
        """The model whose connections belong to the running loop: those of another cannot be used, nor closed."""
        loop = asyncio.get_running_loop()
        if loop not in self._models:
            self._models = {each: kept for each, kept in self._models.items() if not each.is_closed()}
            model, self._unused = self._unused or self._build(), None
            # A loop closes its asynchronous generators when it ends, and this one closes the connections then.
            keeper = _kept_open(model)
            self._models[loop] = model, keeper
            await anext(keeper)
        return self._models[loop][0]

    def _cache_key(self, request: ChatRequest) -> dict[str, str]:
        """What brings requests that begin alike to the same machine at OpenAI."""
        if not (self._keyed and request.session):
            return {}
        whose = "" if request.common else request.agent.name
        key = hashlib.sha256(json.dumps([request.session, whose]).encode()).hexdigest()[:32]
        return {"openai_prompt_cache_key": key}

    def _info(self, whole: ModelResponse) -> ReplyInfo:
        usage = whole.usage
        ended: dict[str, JSON] = {} if whole.finish_reason in ORDINARY else {"finish_reason": whole.finish_reason}
        return ReplyInfo(
            f"{self._id}{whole.model_name or ''}",
            usage.input_tokens,
            usage.output_tokens,
            ended,
            usage.cache_read_tokens,
            native(self._name, whole),
        )

    def _problem(self, error: Exception, hint: str) -> ProviderError:
        match error:
            case ModelHTTPError(status_code=status):
                said = _said(error.body) or "nothing that can be read"
                keys = " or ".join(KEYS.get(self._name.partition("@")[0], ()))
                hint = (
                    f" Is {keys} right?" if status == 401 and keys else f" {hint}" if hint and status in REFUSED else ""
                )
                found = error.suggested_model_id
                hint += f" Did you mean {found!r}?" if found else ""
                return ProviderError(f"{self.about} answered {status}: {said}{hint}", status, error.retry_after)
            case ModelAPIError():
                cause = error.__cause__
                why = f" ({type(cause.__cause__ or cause).__name__})" if cause else ""
                return ProviderError(f"{self.about} failed: {error.message}{why}", None, error.retry_after)
            case _:
                told = f"{self.about} failed: {type(error).__name__}: {error}"
                return ProviderError(f"{told}. {hint}" if hint else told)


def client(model: str, *, api_key: str | None = None, base_url: str | None = None) -> ModelClient:
    """The client of a model, ``"provider:model"``: ``"openai:gpt-5-mini"``, ``"anthropic:claude-sonnet-5"``...

    ``api_key``: by default what the environment says. ``base_url``: another server that speaks as the provider does.
    ``openai:`` is the Responses API at OpenAI, and Chat Completions, which all that is compatible speaks, at any other
    ``base_url``; ``openai-responses:`` and ``openai-chat:`` are what they say.

    Raises:
        UsageError: there is no such provider, or its key is missing.
        MissingExtra: the provider's package is not installed.
    """
    provider, _, name = model.partition(":")
    if not name:
        raise UsageError(f"{model!r} is no model; write PROVIDER:MODEL. {_there_are()}")
    if provider in AZURE:
        return ModelClient(*_azure(provider, name, base_url, None, api_key, None))
    return ModelClient(*_plan(provider, name, api_key, base_url))


class OpenAIChatClient(ModelClient):
    """A model of OpenAI, or of any server that speaks Chat Completions (``base_url``)."""

    def __init__(self, *, model: str, api_key: str | None = None, base_url: str | None = None) -> None:
        super().__init__(*_plan("openai", model, api_key, base_url))


class AzureOpenAIChatClient(ModelClient):
    """A deployment at Azure OpenAI.

    ``endpoint``: default ``AZURE_OPENAI_ENDPOINT``. ``credential``: of the package azure-identity, sync or async, or
    anything with its ``get_token``; without one ``api_key``, or ``AZURE_OPENAI_API_KEY``. ``api_version``: for
    endpoints that do not have the API's version 1; default ``OPENAI_API_VERSION``.
    """

    def __init__(
        self,
        *,
        deployment: str,
        endpoint: str | None = None,
        credential: Credential | None = None,
        api_key: str | None = None,
        api_version: str | None = None,
    ) -> None:
        super().__init__(*_azure("azure", deployment, endpoint, credential, api_key, api_version))


def _plan(provider: str, model: str, api_key: str | None, base_url: str | None) -> Plan:
    speaks_openai = provider in ("openai", "openai-chat", "openai-responses")
    elsewhere = base_url or (os.environ.get("OPENAI_BASE_URL") if speaks_openai else None)
    if provider == "openai":
        provider = "openai-chat" if elsewhere else "openai-responses"
    if provider == "ollama":
        base_url = base_url or os.environ.get("OLLAMA_BASE_URL") or OLLAMA
    _check_provider(provider)
    if not (api_key or (elsewhere and speaks_openai)):
        _key_of(provider)

    def build() -> Model:
        return infer_model(f"{provider}:{model}", lambda kind: _provider(kind, api_key, base_url))

    name = f"{provider}@{urlsplit(elsewhere).hostname}" if elsewhere else provider
    # Gateways that speak as Anthropic does may refuse what its cache is told.
    gateway = provider == "anthropic" and (base_url or os.environ.get("ANTHROPIC_BASE_URL"))
    return name, build, {} if gateway else DEFAULTS.get(provider, {})


def _provider(kind: str, api_key: str | None, base_url: str | None) -> Provider[Any]:
    made = infer_provider_class(kind)
    given = {"api_key": api_key} if api_key else {}
    takes_address = "base_url" in inspect.signature(made).parameters
    if base_url and takes_address:
        given["base_url"] = base_url
    provider = made(**given)
    if base_url and not takes_address:
        provider.client.base_url = base_url
    return provider


def _azure(
    provider: str,
    deployment: str,
    endpoint: str | None,
    credential: Credential | None,
    api_key: str | None,
    api_version: str | None,
) -> Plan:
    endpoint = endpoint or os.environ.get("AZURE_OPENAI_ENDPOINT")
    version = api_version or os.environ.get("OPENAI_API_VERSION")
    if not endpoint:
        raise UsageError(f"no endpoint for {provider}: set AZURE_OPENAI_ENDPOINT, or give endpoint=")
    key = credential or api_key or _key_of(provider)

    def build() -> Model:
        from pydantic_ai.providers.azure import AzureProvider

        made = AzureProvider(openai_client=sdk(endpoint, key, version))
        return infer_model(f"{provider}:{deployment}", lambda _: made)

    return provider, build, DEFAULTS.get(provider, {})


def _check_provider(provider: str) -> None:
    try:
        infer_provider_class(provider)
    except ValueError:
        close = difflib.get_close_matches(provider, KEYS, 1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise UsageError(f"there is no provider {provider!r}; {hint}{_there_are()}") from None
    except ImportError as error:
        raise MissingExtra(f"{provider} needs a package that is not installed: {error}") from error


def _there_are() -> str:
    return f"There are {', '.join(KEYS)}."


def _key_of(provider: str) -> str:
    """What the environment says; empty where no key is needed, or where only pydantic-ai knows of one."""
    variables = KEYS.get(provider, ())
    found = next(filter(None, map(os.environ.get, variables)), "")
    if variables and not found:
        raise UsageError(f"no key for {provider}: set {' or '.join(variables)}, or give api_key=")
    return found


def _guarded(name: str, build: Callable[[], Model]) -> Model:
    """What ``build`` makes; what is wrong with the call is ours to say."""
    try:
        return build()
    except (UserError, ValueError) as error:
        raise UsageError(f"{name}: {error}") from error
    except ImportError as error:
        raise MissingExtra(f"{name} needs a package that is not installed: {error}") from error


def _known(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings, if there are such. Those that begin with a provider's name are its own."""
    for name in settings:
        if name not in NAMES and not name.startswith(OWN):
            close = difflib.get_close_matches(name, NAMES, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(NAMES)}"
            raise UsageError(f"there is no setting {name!r}; {hint}")
    return settings


def _fits(profile: Mapping[str, Any]) -> Fits:
    if not profile.get("supports_json_schema_output"):
        return "never"
    return "always" if profile.get("google_supports_tool_combination", True) else "alone"


async def _kept_open(model: Model) -> AsyncGenerator[None]:
    try:
        async with model:
            yield
    finally:
        # Of a provider's client that was given to pydantic-ai it closes nothing. Twice does no harm.
        close = getattr(getattr(model, "client", None), "close", None)
        if inspect.iscoroutinefunction(close):
            await close()


def _broke_off(whole: ModelResponse) -> bool:
    """Whether a connection ended in good order, at a proxy's wish say, before the reply did. No library tells."""
    if (whole.provider_details or {}).get("finish_reason"):
        return False
    # Some servers of Chat Completions never say why they stop, which counts as "stop"; what they took comes last too.
    return whole.finish_reason is None or (whole.finish_reason == "stop" and not whole.usage.output_tokens)


def _as_written(part: ToolCallPart) -> str:
    return part.args or "{}" if isinstance(part.args, str | None) else json.dumps(part.args, ensure_ascii=False)


def _said(body: object) -> str:
    """The sentence in a provider's answer, wherever it keeps it."""
    if isinstance(body, str):
        with suppress(ValueError):
            if isinstance(parsed := json.loads(body), dict | list):
                return _said(cast("object", parsed))
        return body.strip()
    if isinstance(body, list):
        inner = cast("list[object]", body)
    elif isinstance(body, Mapping):
        told = cast("Mapping[str, object]", body)
        inner = [told.get(key) for key in ("error", "message", "detail")]
    else:
        return ""
    return next((said for each in inner if (said := _said(each))), "")
