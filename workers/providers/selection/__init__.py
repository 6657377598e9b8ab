"""Which candidate is asked first: how all stand as far as this process knows, and the draw between them."""
