"""Objects made from configuration: a builder for each kind, one object for each configured name, closed when retired."""

from infrastructure.optional.factory_core.factory import Factory
from infrastructure.optional.factory_core.generations import Generations

__all__ = ["Factory", "Generations"]
