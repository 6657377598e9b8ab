"""Events: published by one part of the service, heard by any other, in this process and in the fleet."""

from infrastructure.optional.event_core.bus import EventBus
from infrastructure.optional.event_core.events import Event, NullPublisher, Publisher
from infrastructure.optional.event_core.patterns import matches
from infrastructure.optional.event_core.subscription import Subscription

__all__ = ["Event", "EventBus", "NullPublisher", "Publisher", "Subscription", "matches"]
