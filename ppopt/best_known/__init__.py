"""The atlas: the best known makespans on a grid of pipelines, with proven bounds.

``python -m benchmarks.atlas`` fills it.
"""
