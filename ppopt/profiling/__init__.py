"""Costs from what was measured: traces and timer logs."""
