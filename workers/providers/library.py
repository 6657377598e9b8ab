"""The only door to LiteLLM: its import, its settings, one bare call, its price table."""

from __future__ import annotations

import functools
import gc
import importlib
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

from infrastructure.core.config_core import ProviderKind
from workers.providers.heard import tell_sent
from workers.providers.transport import DNS_CACHE_S, KEEPALIVE_S, SendOnce

_PREFIX = {
    ProviderKind.OPENAI: "openai",
    ProviderKind.ANTHROPIC: "anthropic",
    ProviderKind.GOOGLE: "gemini",
    ProviderKind.DEEPSEEK: "deepseek",
}
# What a caller's parameters may become. Anything else (api_base, headers, client, ...) would steer LiteLLM itself.
PARAMETERS = frozenset({
    "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs", "max_completion_tokens",
    "max_tokens", "messages", "modalities", "n", "parallel_tool_calls", "prediction", "presence_penalty",
    "prompt_cache_key", "prompt_cache_retention", "reasoning_effort", "response_format", "safety_identifier", "seed",
    "service_tier", "stop", "store", "temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user",
    "verbosity", "web_search_options",
})  # fmt: skip
FACTS_KEPT = 4_096  # names of models come from callers
_SLACK_S = 5  # LiteLLM's own timeout is only the second line: ours ends the call first, with one meaning
_FIRST_CALL = (
    "litellm.proxy.openai_files_endpoints.common_utils", "litellm._service_logger",
    "litellm.litellm_core_utils.default_encoding",
)  # fmt: skip
"""What LiteLLM imports at the first call: a quarter of a second of CPU, in which a worker's loop would do nothing else."""
_LOGGERS = ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a call goes: wire format, model as the provider calls it, account, and over which HTTP client."""

    kind: ProviderKind
    model: str
    api_key: str
    base_url: str
    http: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What LiteLLM's table says of a model. None: nothing. Prices in USD for one token."""

    mode: str | None = None
    """Of what kind it is: `chat`, `responses`, …"""
    window: int | None = None
    """Tokens that a prompt may have."""
    most_tokens: int | None = None
    """Tokens that an answer may have."""
    tools: bool | None = None
    vision: bool | None = None
    schemas: bool | None = None
    """Whether answers can be bound to a JSON schema."""
    input_usd: float | None = None
    output_usd: float | None = None


UNKNOWN = Facts()


class Library:
    """LiteLLM, reduced to what a worker asks of it. Made by `load`; used on one event loop; closed there."""

    def __init__(self, litellm: Any) -> None:
        self._litellm = litellm
        self.facts = functools.lru_cache(maxsize=FACTS_KEPT)(self._facts)
        """Facts of a model by kind of provider and name."""
        # `acompletion` below its `client` decorator, which prices every call, builds log records for callbacks that do
        # not exist and has a retry layer of its own.
        self._acompletion = _module("litellm.main").acompletion.__wrapped__
        self._logging = _module("litellm.litellm_core_utils.litellm_logging").Logging
        self._tls = _module("litellm.llms.custom_httpx.http_handler").get_ssl_configuration()

    def open_http(self) -> Any:
        """Return a new HTTP client for an account; whoever asks for it closes it."""
        return _http_client(self._tls)

    async def complete(self, endpoint: Endpoint, params: Mapping[str, Any], *, timeout_s: float) -> Any:
        """Send one request, once, and return LiteLLM's answer.

        Raises:
            Exception: one of LiteLLM's; see `classify`.
        """
        return await self._acompletion(
            **_parameters(params, kind=endpoint.kind),
            model=f"{_PREFIX[endpoint.kind]}/{endpoint.model}",
            api_key=endpoint.api_key,
            api_base=endpoint.base_url,
            timeout=timeout_s + _SLACK_S,
            num_retries=0,
            max_retries=0,
            drop_params=False,
            client=endpoint.http,
            # Else every call with tools imports `mcp`, which LiteLLM does not depend on, and fails without it.
            _skip_mcp_handler=True,
            litellm_logging_obj=self._log_sink(endpoint.model),
        )

    def table_cost(self, endpoint: Endpoint, usage: Any, *, service_tier: str | None) -> float:
        """Return what LiteLLM's price table says of a usage, in USD.

        Raises:
            Exception: the table does not have the model.
        """
        prompt, completion = self._litellm.cost_per_token(
            model=endpoint.model,
            custom_llm_provider=_PREFIX[endpoint.kind],
            usage_object=usage,
            service_tier=service_tier,
        )
        return float(prompt + completion)

    def _facts(self, kind: ProviderKind, model: str) -> Facts:
        try:
            info = self._litellm.get_model_info(model, custom_llm_provider=_PREFIX[kind])
        except Exception:  # noqa: BLE001  the table raises whatever it likes for a model that it does not have
            return UNKNOWN
        return Facts(
            mode=info.get("mode"),
            window=_whole(info.get("max_input_tokens")),
            most_tokens=_whole(info.get("max_output_tokens")),
            tools=info.get("supports_function_calling"),
            vision=info.get("supports_vision"),
            schemas=info.get("supports_response_schema"),
            input_usd=info.get("input_cost_per_token"),
            output_usd=info.get("output_cost_per_token"),
        )

    async def close(self) -> None:
        """Close whatever connections LiteLLM opened by itself."""
        await self._litellm.close_litellm_async_clients()

    def _log_sink(self, model: str) -> Any:
        """Return the object that LiteLLM insists on writing a call's details to; nothing reads it."""
        return self._logging(
            model=model,
            messages=None,
            stream=False,
            call_type="acompletion",
            start_time=datetime.fromtimestamp(time.time(), UTC),
            litellm_call_id="",
            function_id="",
        )


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def _parameters(params: Mapping[str, Any], *, kind: ProviderKind) -> dict[str, Any]:
    """Return what a caller's parameters become as arguments of LiteLLM's."""
    listed = {name: value for name, value in params.items() if name in PARAMETERS and value is not None}
    if kind is ProviderKind.OPENAI:
        # Two that LiteLLM would drop in silence: `user` for a model that it does not know, the other always.
        listed["allowed_openai_params"] = ["user"]
        if "prompt_cache_retention" in listed:
            listed["extra_body"] = {"prompt_cache_retention": listed.pop("prompt_cache_retention")}
    return listed


def load(*, concurrency: int) -> Library:
    """Import LiteLLM (2 to 9 s of CPU: call it in a thread) and switch off what is not wanted of it.

    `concurrency` is how many calls this process may have in flight.
    """
    os.environ.update(
        {
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # else the import downloads a price table
            "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",  # else a call downloads a list of headers
            # For what LiteLLM opens beside our client, whose connector has no limit; read at import.
            "AIOHTTP_CONNECTOR_LIMIT": str(concurrency),
            "AIOHTTP_CONNECTOR_LIMIT_PER_HOST": str(concurrency),
            # The OpenAI wire through the same HTTP handler as all others: half the CPU of going through the openai SDK.
            "EXPERIMENTAL_OPENAI_BASE_LLM_HTTP_HANDLER": "True",
            # No downloads of URLs in prompts: they would be fetched by us, from inside, blocking a thread each.
            "MAX_IMAGE_URL_DOWNLOAD_SIZE_MB": "0",
            "LITELLM_DISABLE_BUG_REPORT_LINK": "True",  # no advertisement in error texts
        }
    )
    with _uncollected():
        litellm = _module("litellm")
        # Pydantic makes the classes of an answer when the first is made: here, in a thread, not on the loop with a call waiting.
        _module("litellm.types.utils").ModelResponse()
        for name in _FIRST_CALL:
            _module(name)
    _silence(litellm)
    return Library(litellm)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep the collector from looking through an import's objects again and again: none is garbage, and it takes a fifth of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _silence(litellm: Any) -> None:
    litellm.telemetry = False
    litellm.set_verbose = False
    litellm.suppress_debug_info = True
    litellm.turn_off_message_logging = True
    litellm.drop_params = False
    litellm.modify_params = False
    litellm.num_retries = None
    litellm.cache = None
    for callbacks in (litellm.callbacks, litellm.input_callback, litellm.success_callback, litellm.failure_callback):
        callbacks.clear()
    for name in _LOGGERS:
        logging.getLogger(name).disabled = True  # its lines quote prompts


def _http_client(tls: Any) -> Any:
    """Return a client. Its connection pool has no limit: the worker's slots are the limit."""
    import aiohttp

    handlers, traced = _module("litellm.llms.custom_httpx.http_handler"), aiohttp.TraceConfig()
    traced.on_request_headers_sent.append(tell_sent)

    def session() -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=0, ssl=tls, keepalive_timeout=KEEPALIVE_S, ttl_dns_cache=DNS_CACHE_S)
        return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), trace_configs=[traced])

    transport = _module("litellm.llms.custom_httpx.aiohttp_transport").LiteLLMAiohttpTransport(client=session)
    return handlers.AsyncHTTPHandler(transport=SendOnce(transport), timeout=httpx.Timeout(None), follow_redirects=False)


def _module(name: str) -> Any:
    """Import by name: LiteLLM's own types are not ours to check, and reading them takes mypy minutes."""
    return importlib.import_module(name)
