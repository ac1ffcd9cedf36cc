"""Cuts a given model to fit a schedule."""
