"""Webhooks at the front door: what a tenant may do with its endpoints, and how they are shown."""
