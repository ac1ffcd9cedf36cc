"""What a command asks of its process: clocks, Ctrl-C, files."""
