"""What a sweep shows: who wins where, and by how much.

Rows come as plain values: the axes' and the figures of each job. What was run, and how, is not known here.
"""
