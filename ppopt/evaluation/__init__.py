"""Given orders: published schedules and files are replayed, checked and written out.

Nothing here searches for an order or compares several.
"""
