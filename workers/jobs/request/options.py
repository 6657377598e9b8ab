"""The structured parameters of a completion: tools, formats of the answer, cache, and the small ones."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, ConfigDict, Field, Tag

from workers.jobs.request.messages import TextContent
from workers.jobs.request.wire import Label, Name, Part, either

MOST_SCHEMA_NODES = 10_000


def _expanded_nodes(schema: dict[str, Any]) -> int:
    """Count the nodes of a JSON Schema with each local `$ref` in the place of its definition; a cycle counts once.

    Some wires know no `$ref`, so LiteLLM expands it: thirty definitions that each name the next one twice are a billion.
    """
    known: dict[str, int] = {}

    def count(node: Any) -> int:
        if isinstance(node, dict):
            reference = node.get("$ref")
            below = sum(count(value) for value in node.values())
            return 1 + below + (referred(reference) if isinstance(reference, str) else 0)
        if isinstance(node, list):
            return 1 + sum(count(value) for value in node)
        return 1

    def referred(reference: str) -> int:
        if reference not in known:
            known[reference] = 0
            known[reference] = min(count(_at(schema, reference)), 2 * MOST_SCHEMA_NODES)
        return known[reference]

    return count({name: part for name, part in schema.items() if name not in {"$defs", "definitions"}})


def _at(schema: Any, reference: str) -> Any:
    for step in reference.removeprefix("#").split("/"):
        if step:
            schema = schema.get(step) if isinstance(schema, dict) else None
    return schema


def _bounded(schema: dict[str, Any]) -> dict[str, Any]:
    try:
        nodes = _expanded_nodes(schema)
    except RecursionError:  # a chain of references a thousand long
        nodes = MOST_SCHEMA_NODES + 1
    if nodes > MOST_SCHEMA_NODES:
        raise ValueError(f"expected a schema of at most {MOST_SCHEMA_NODES} nodes with its references expanded")
    return schema


JsonObject = dict[str, Any]
JsonSchema = Annotated[JsonObject, AfterValidator(_bounded)]


class FunctionDefinition(Part):
    """A function that the model may call; `parameters` is a JSON Schema."""

    name: Name
    description: str | None = None
    parameters: JsonSchema | None = None
    strict: bool | None = None


class FunctionTool(Part):
    """A function as a tool."""

    type: Literal["function"]
    function: FunctionDefinition


class Grammar(Part):
    """A grammar that a custom tool's input follows."""

    definition: str
    syntax: Literal["lark", "regex"]


class CustomFormat(Part):
    """The form of a custom tool's input."""

    type: Literal["text", "grammar"]
    grammar: Grammar | None = None


class CustomDefinition(Part):
    """A tool that takes free text."""

    name: Name
    description: str | None = None
    format: CustomFormat | None = None


class CustomTool(Part):
    """A custom tool."""

    type: Literal["custom"]
    custom: CustomDefinition


Tool = Annotated[FunctionTool | CustomTool, Field(discriminator="type")]


class Named(Part):
    """The name of a tool."""

    name: Name


class FunctionChoice(Part):
    """This function and no other."""

    type: Literal["function"]
    function: Named


class CustomChoice(Part):
    """This custom tool and no other."""

    type: Literal["custom"]
    custom: Named


class AllowedTools(Part):
    """Some of the tools."""

    mode: Literal["auto", "required"]
    tools: Annotated[list[JsonObject], Field(max_length=128)]


class AllowedChoice(Part):
    """One of these tools."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


_ChoiceObject = Annotated[FunctionChoice | CustomChoice | AllowedChoice, Field(discriminator="type")]
ToolChoice = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("word")] | Annotated[_ChoiceObject, Tag("object")],
    either("none, auto, required or an object", {str: "word", dict: "object"}),
]
FunctionCallChoice = Annotated[
    Annotated[Literal["none", "auto"], Tag("word")] | Annotated[Named, Tag("object")],
    either("none, auto or an object", {str: "word", dict: "object"}),
]


class TextFormat(Part):
    """Text, as it comes."""

    type: Literal["text"]


class JsonFormat(Part):
    """Some JSON object."""

    type: Literal["json_object"]


class Schema(Part):
    """A JSON Schema by name."""

    # The wire's name `schema` is a method of pydantic's models.
    model_config = ConfigDict(serialize_by_alias=True)

    name: Name
    description: str | None = None
    schema_: JsonSchema | None = Field(None, alias="schema")
    strict: bool | None = None


class SchemaFormat(Part):
    """JSON after a schema."""

    type: Literal["json_schema"]
    json_schema: Schema


ResponseFormat = Annotated[TextFormat | JsonFormat | SchemaFormat, Field(discriminator="type")]


class Prediction(Part):
    """Text that much of the answer will repeat."""

    type: Literal["content"]
    content: TextContent


class AudioOutput(Part):
    """How a spoken answer sounds."""

    voice: Label
    format: Literal["wav", "aac", "mp3", "flac", "opus", "pcm16"]


class Approximate(Part):
    """Roughly where the asker is."""

    city: Label | None = None
    country: Label | None = None
    region: Label | None = None
    timezone: Label | None = None


class UserLocation(Part):
    """Where the asker is."""

    type: Literal["approximate"]
    approximate: Approximate


class WebSearch(Part):
    """How the model searches the web."""

    search_context_size: Literal["low", "medium", "high"] | None = None
    user_location: UserLocation | None = None


class Cache(Part):
    """How this request uses the answer cache. `ttl` in seconds."""

    mode: Literal["use", "refresh", "off", "auto"] | None = Field(
        None,
        description="`use`: take a kept answer, keep a new one; `refresh`: ask anew, keep the answer; `off`: neither; `auto`: "
        "`use` where `temperature` is 0 or `seed` is set, else `off`. Default: `cache.mode` of the configuration.",
    )
    ttl: int | None = Field(None, ge=1, le=604_800, description="Seconds for which a new answer is kept.")


_StopText = Annotated[str, Field(min_length=1, max_length=1_024)]
Stop = Annotated[
    Annotated[_StopText, Tag("text")] | Annotated[list[_StopText], Field(min_length=1, max_length=4), Tag("list")],
    either("a string or a list of strings", {str: "text", list: "list"}),
]
