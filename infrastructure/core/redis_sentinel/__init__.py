"""Redis behind Sentinel: its URL, and clients that follow the master from server to server."""
