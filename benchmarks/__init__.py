"""Measurements, as ratios within one run; nothing here asserts a time. ``python -m benchmarks`` runs the short ones."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as the command does: on busy cores, BLAS threads stall each other
