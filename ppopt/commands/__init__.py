"""The command line: a module for each command, with its options, and what they print and write.

Nothing here computes; a command reads its options and asks the other folders.
"""
