"""What a caller may send about an endpoint, checked in one pass."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import Field, ValidationError, field_validator

from infrastructure.core.error_core import ValidationFailed
from workers.jobs.request.faults import fault, faults
from workers.jobs.request.wire import Part

MAX_DESCRIPTION = 500
Description = Annotated[str, Field(max_length=MAX_DESCRIPTION)]
Asked = TypeVar("Asked", bound=Part)


class EndpointRequest(Part):
    """An endpoint to be registered."""

    url: str
    """https, on a public host."""
    description: Description = ""
    enabled: bool = True

    @field_validator("description")
    @classmethod
    def _printable(cls, description: str) -> str:
        return _checked(description)


class EndpointChange(Part):
    """What is to change of an endpoint; the rest stays."""

    url: str | None = None
    description: Description | None = None
    enabled: bool | None = None
    """True starts it again after it was disabled: what waits is sent."""

    @field_validator("description")
    @classmethod
    def _printable(cls, description: str | None) -> str | None:
        return None if description is None else _checked(description)


def parse(kind: type[Asked], body: Any) -> Asked:
    """Return what a parsed JSON body asks for.

    Raises:
        ValidationFailed: with every fault at once in `data["errors"]`.
    """
    try:
        return kind.model_validate(body)
    except ValidationError as exc:
        found = faults(exc, body, tuple(kind.model_fields))
    raise ValidationFailed("the body breaks a rule; each is listed in errors", errors=found)


def refused(field: str, message: str) -> ValidationFailed:
    """Return the error of one field of the body."""
    return ValidationFailed(f"{field}: {message}", errors=[fault((field,), message)])


def _checked(text: str) -> str:
    if not text.isprintable():
        raise ValueError("expected printable characters")
    return text
