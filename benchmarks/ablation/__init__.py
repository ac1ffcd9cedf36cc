"""What each bound, each search method and each rule of planning is worth: the results with it and without it.

``python -m benchmarks.ablation [METHOD…] [--seconds 15] [--jobs 2] [--results DIR] [--table FILE]``; ``--list`` names
the methods. Seconds are of processor time, so a busy machine changes little. Nothing of the product is changed: a
method is switched off by a patch where its result is used.
"""
