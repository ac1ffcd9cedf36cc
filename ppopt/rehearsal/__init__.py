"""Rehearsing an order in PyTorch's runtime on local processes, and comparing that with the prediction.

Only the workers import torch. What is read from runs of a real model is in ``profiling``.
"""
