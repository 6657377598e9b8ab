"""Options that several commands of the command line have in common."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import typer

STYLE: Literal["rich"] | None = "rich" if sys.stdout.isatty() else None
Url = Annotated[str | None, typer.Option(help="Where the service is, in place of AI_PROVIDER_URL.")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]
