"""Replays, checks and writes out given orders: published schedules and files.

Nothing here searches for an order or compares several.
"""
