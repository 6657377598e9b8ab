"""API keys: made, kept as HMAC, recognised."""
