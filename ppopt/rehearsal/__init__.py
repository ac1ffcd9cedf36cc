"""Rehearses an order in PyTorch's runtime on local processes, and compares the run with the prediction.

Only the workers import torch. Runs of a real model are read in ``profiling``.
"""
