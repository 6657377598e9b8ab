"""Making a thing once under a caller's idempotency key, where making it takes several steps."""
