"""The memory twin of the gate's scripts, part by part: the same rules over the same fields."""
