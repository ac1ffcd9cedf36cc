"""Finds the layers of each stage, and which are recomputed: the best cut for a fixed order, and for any order."""
