"""Rehearsing an order on real processes; only the workers import torch."""
