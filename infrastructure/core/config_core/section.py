"""What every part of the configuration has in common: it is frozen, and knows its fields."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

Seconds = Annotated[float, Field(gt=0, le=31_536_000)]
Port = Annotated[int, Field(ge=0, le=65_535)]
Host = Annotated[str, Field(pattern=r"^[^\s/@]+$", max_length=253)]
"""An address or a name; empty would listen on every address there is."""
Name = Annotated[str, Field(pattern=r"^\S+$", max_length=200)]
HttpUrl = Annotated[str, Field(pattern=r"^https?://[^\s/]+[^\s]*$", max_length=2_000)]


def crossed(field: str, text: str, *, other: str) -> PydanticCustomError:
    """Return the error of two fields of a section that contradict each other; it is told of the first."""
    return PydanticCustomError("crossed", "{text}", {"text": text, "field": field, "other": other})


class Section(BaseModel):
    """A part of the configuration: frozen, an unknown key in it is an error, and no value stands in a message."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        allow_inf_nan=False,
        validate_default=True,
        use_attribute_docstrings=True,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """Refuse true and false where something else is meant: `port: yes` would be 1, `mode: off` false."""
        name = info.field_name or ""
        if isinstance(value, bool) and cls.model_fields[name].annotation is not bool:
            raise PydanticCustomError(
                "truth_value", "expected a value, got true or false (unquoted yes, no, on and off are these in YAML)"
            )
        return value
