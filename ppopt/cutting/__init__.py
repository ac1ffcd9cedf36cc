"""Cuts of a model's layers into stages, for a given order."""
