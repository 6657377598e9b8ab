"""The body of a completion request: what is accepted, and what a refusal says."""
