"""Fixtures of the integration tests."""

from tests.support.providers import start_manager

__all__ = ["start_manager"]
