"""Which layers go where, for a given order."""
