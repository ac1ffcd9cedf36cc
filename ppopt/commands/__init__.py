"""The command line: one module per command, with its options and output.

Nothing here computes: a command reads its options and calls the other folders.
"""
