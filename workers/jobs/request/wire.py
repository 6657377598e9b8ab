"""The base of every part of a request: unknown names refused, nothing converted, no value in an error."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Discriminator, Field


class Part(BaseModel):
    """A JSON object of a request: exactly the named members, each of exactly its type."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True, populate_by_name=True)


Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:-]+$")]
Label = Annotated[str, Field(min_length=1, max_length=512)]


def either(expected: str, tags: dict[type, str]) -> Discriminator:
    """Return what chooses a union's branch by the value's JSON type, so that only that branch's faults are told.

    `expected` says what is wanted where no branch fits ("a string or a list of parts").
    """

    def choose(value: Any) -> str | None:
        return tags.get(dict if isinstance(value, BaseModel) else type(value))  # a model when it is written again

    return Discriminator(choose, custom_error_type="wrong_type", custom_error_message=f"expected {expected}")
