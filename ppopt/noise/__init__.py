"""Schedules under noise: each order is replayed with many draws of its times, the same luck for all.

This folder draws the times; `solver.sampled_replay` replays many draws at once, and `reports.noise` shows the figures.
"""
