"""The reference: OpenAPI document and the page at `/docs`."""
