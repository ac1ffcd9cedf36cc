"""Finds costs that cannot be read off a trace, from how long whole steps took."""
