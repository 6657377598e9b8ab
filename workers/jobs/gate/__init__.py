"""The gate before every provider call: breakers, limits, open attempts and cost, shared by the fleet."""
