"""Schedules under noise: each order replayed with many draws of its times, the same luck for all.

What draws and what is drawn belongs here; replaying many draws at once is `solver.sampled_replay`'s, and showing
figures `reports.noise`'s.
"""
