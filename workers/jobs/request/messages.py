"""The messages of a conversation, as OpenAI's chat completions shape them."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import Field, Tag, field_validator, model_validator

from workers.jobs.request.wire import Label, Name, Part, either

MAX_PARTS = 1_024
MAX_TOOL_CALLS = 128
MAX_URL = 8_192
_PRIVATE_SUFFIXES = (".localhost", ".local", ".internal", ".localdomain", ".home.arpa")


class TextPart(Part):
    """A piece of text."""

    type: Literal["text"]
    text: str


class RefusalPart(Part):
    """What an assistant said when it refused."""

    type: Literal["refusal"]
    refusal: str


class ImageUrl(Part):
    """Where an image is: in the URL itself (`data:`) or on the public web."""

    url: str
    detail: Literal["auto", "low", "high"] = "auto"

    @field_validator("url")
    @classmethod
    def _safe(cls, url: str) -> str:
        """Refuse addresses inside a network: some provider libraries fetch the image from where the worker runs."""
        if not (_is_data(url, "image/") or _is_public(url)):
            raise ValueError("expected a data:image/…;base64, URL or a public https:// URL")
        return url


class ImagePart(Part):
    """An image to look at."""

    type: Literal["image_url"]
    image_url: ImageUrl


class InputAudio(Part):
    """Sound, base64."""

    data: str
    format: Literal["wav", "mp3"]


class AudioPart(Part):
    """Sound to listen to."""

    type: Literal["input_audio"]
    input_audio: InputAudio


class FileData(Part):
    """A document, in the request itself. Ids of uploaded files belong to a provider's account, not to a tenant."""

    file_data: str
    filename: Label | None = None

    @field_validator("file_data")
    @classmethod
    def _inline(cls, data: str) -> str:
        if not _is_data(data, ""):
            raise ValueError("expected a data:…;base64, URL")
        return data


class FilePart(Part):
    """A document to read."""

    type: Literal["file"]
    file: FileData


_EITHER = either("a string or a list of parts", {str: "text", list: "parts"})
_UserPart = Annotated[TextPart | ImagePart | AudioPart | FilePart, Field(discriminator="type")]
_AssistantPart = Annotated[TextPart | RefusalPart, Field(discriminator="type")]
_SIZE = Field(min_length=1, max_length=MAX_PARTS, fail_fast=True)

TextContent: TypeAlias = Annotated[
    Annotated[str, Tag("text")] | Annotated[list[TextPart], _SIZE, Tag("parts")], _EITHER
]
UserContent: TypeAlias = Annotated[
    Annotated[str, Tag("text")] | Annotated[list[_UserPart], _SIZE, Tag("parts")], _EITHER
]
AssistantContent: TypeAlias = Annotated[
    Annotated[str, Tag("text")] | Annotated[list[_AssistantPart], _SIZE, Tag("parts")], _EITHER
]


class FunctionCall(Part):
    """A function that a model asked for; `arguments` is JSON as the model wrote it."""

    name: Name
    arguments: str


class FunctionToolCall(Part):
    """A call of a function tool."""

    id: Label
    type: Literal["function"]
    function: FunctionCall


class CustomCall(Part):
    """A custom tool that a model asked for, with free text."""

    name: Name
    input: str


class CustomToolCall(Part):
    """A call of a custom tool."""

    id: Label
    type: Literal["custom"]
    custom: CustomCall


ToolCall = Annotated[FunctionToolCall | CustomToolCall, Field(discriminator="type")]


class SystemMessage(Part):
    """Instructions."""

    role: Literal["system"]
    content: TextContent
    name: Name | None = None


class DeveloperMessage(Part):
    """Instructions, by their newer name."""

    role: Literal["developer"]
    content: TextContent
    name: Name | None = None


class UserMessage(Part):
    """What a person says."""

    role: Literal["user"]
    content: UserContent
    name: Name | None = None


class AssistantAudio(Part):
    """An earlier spoken answer."""

    id: Label


class AssistantMessage(Part):
    """What the model said before."""

    role: Literal["assistant"]
    content: AssistantContent | None = None
    name: Name | None = None
    refusal: str | None = None
    audio: AssistantAudio | None = None
    tool_calls: Annotated[list[ToolCall], Field(min_length=1, max_length=MAX_TOOL_CALLS)] | None = None
    function_call: FunctionCall | None = None

    @model_validator(mode="after")
    def _says_something(self) -> AssistantMessage:
        if all(part is None for part in (self.content, self.refusal, self.audio, self.tool_calls, self.function_call)):
            raise ValueError("expected content, tool_calls, refusal or audio; got none of them")
        return self


class ToolMessage(Part):
    """What a tool answered."""

    role: Literal["tool"]
    content: TextContent
    tool_call_id: Label


class FunctionMessage(Part):
    """What a function answered (the old form of `tool`)."""

    role: Literal["function"]
    name: Name
    content: str | None


Message = Annotated[
    SystemMessage | DeveloperMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage,
    Field(discriminator="role"),
]


def _is_data(url: str, kind: str) -> bool:
    return url.startswith(f"data:{kind}") and ";base64," in url[:256]


def _is_public(url: str) -> bool:
    """Say whether a URL is https to a name (or address) that is not plainly inside somebody's network."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return False
    if parts.scheme != "https" or "@" in parts.netloc or port not in {None, 443} or len(url) > MAX_URL:
        return False
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:  # a name: at least one dot, its last label no number (0x7f.1 and 127.1 are addresses too)
        last = host.rsplit(".", 1)[-1]
        return "." in host and last[:1].isalpha() and not f".{host}".endswith(_PRIVATE_SUFFIXES)
