"""Configuration from files, variables and secrets, as one frozen value that is replaced whole."""

from infrastructure.base.base_config import Environment
from infrastructure.core.config_core.build import Loaded, load, sandbox_wanted
from infrastructure.core.config_core.core_config import CoreConfig
from infrastructure.core.config_core.manager import Registry, SharedInfraConfigManager, get_config
from infrastructure.core.config_core.places import child_environment, client_defaults, data_dir, use_cache_dir
from infrastructure.core.config_core.reloader import Change
from infrastructure.core.config_core.settings import Provider, ProviderKind, Settings
from infrastructure.core.config_core.snapshot import Snapshot
from infrastructure.core.config_core.sources import Sources
from infrastructure.core.config_core.watcher import Watcher

__all__ = [
    "Change",
    "CoreConfig",
    "Environment",
    "Loaded",
    "Provider",
    "ProviderKind",
    "Registry",
    "Settings",
    "SharedInfraConfigManager",
    "Snapshot",
    "Sources",
    "Watcher",
    "child_environment",
    "client_defaults",
    "data_dir",
    "get_config",
    "load",
    "sandbox_wanted",
    "use_cache_dir",
]
