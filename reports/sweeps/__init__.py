"""Shows a sweep: who wins where, and by how much.

Rows are plain values: the axes' values and the figures of each job. Nothing here knows what was run, or how.
"""
