"""Measurements, as ratios within one run; nothing here asserts a time. ``python -m benchmarks`` runs them all."""
