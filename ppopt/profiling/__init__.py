"""Derives costs from traces and timer logs, and compares measurements with predictions.

Nothing here runs a schedule: ``rehearsal`` runs schedules on real processes.
"""
