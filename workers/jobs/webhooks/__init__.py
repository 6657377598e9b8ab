"""Webhooks: endpoints registered by tenants, the outbox of events, the rules of what may be called."""
