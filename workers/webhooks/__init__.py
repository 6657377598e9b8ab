"""Sending webhooks: connections that go only where the guard lets them, and what is due."""
