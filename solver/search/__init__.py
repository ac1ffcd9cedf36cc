"""Searching for good orders: greedy, local search, CP-SAT."""
