"""Validation: rules with names, put together into sets, and the integrity of stored data."""

from infrastructure.optional.validation_core.integrity import DataCorrupt, seal, unseal
from infrastructure.optional.validation_core.rules import Rule, RuleSet, Violation

__all__ = ["DataCorrupt", "Rule", "RuleSet", "Violation", "seal", "unseal"]
