"""Parts of a process: made, started, pinged, mended and stopped in order; how many workers there should be."""

from infrastructure.optional.container_core.background import Background
from infrastructure.optional.container_core.container import Container
from infrastructure.optional.container_core.parts import Lifetime, Ping, Pinged, Recovery
from infrastructure.optional.container_core.registry import Registry
from infrastructure.optional.container_core.scaling import Bounds, Figures, Scaler, recommended

__all__ = [
    "Background",
    "Bounds",
    "Container",
    "Figures",
    "Lifetime",
    "Ping",
    "Pinged",
    "Recovery",
    "Registry",
    "Scaler",
    "recommended",
]
