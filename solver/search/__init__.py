"""Searches for good orders: list schedules, local search, CP-SAT."""
