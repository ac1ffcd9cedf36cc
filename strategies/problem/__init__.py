"""Writes a pipeline as a scheduling problem."""
