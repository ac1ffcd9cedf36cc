"""Costs from what was measured, traces and timer logs, and what was measured beside what was predicted.

Nothing here runs a schedule: what runs one on real processes is in ``rehearsal``.
"""
