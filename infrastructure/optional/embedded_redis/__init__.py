"""The embedded Redis server of a data folder."""
