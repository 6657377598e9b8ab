"""Service discovery over Redis: who serves what and where, with the dead gone within 15 s."""

from infrastructure.optional.service_discovery.description import own_description
from infrastructure.optional.service_discovery.directory import Directory
from infrastructure.optional.service_discovery.instances import Instance
from infrastructure.optional.service_discovery.registration import (
    Registration,
    deregister_service,
    discover,
    register_service,
)

__all__ = [
    "Directory",
    "Instance",
    "Registration",
    "deregister_service",
    "discover",
    "own_description",
    "register_service",
]
