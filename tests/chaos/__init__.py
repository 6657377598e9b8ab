"""Faults put to the real service, and what it must keep through them."""
