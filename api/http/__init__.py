"""HTTP around the routes: heads and bodies bounded, errors as problems, one log line a request."""
