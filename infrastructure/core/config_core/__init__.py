"""Configuration from files, variables and secrets, as one frozen value."""

from infrastructure.core.config_core.build import Loaded, load, sandbox_wanted
from infrastructure.core.config_core.places import child_environment, client_defaults, data_dir
from infrastructure.core.config_core.settings import Environment, Provider, ProviderKind, Settings

__all__ = [
    "Environment",
    "Loaded",
    "Provider",
    "ProviderKind",
    "Settings",
    "child_environment",
    "client_defaults",
    "data_dir",
    "load",
    "sandbox_wanted",
]
