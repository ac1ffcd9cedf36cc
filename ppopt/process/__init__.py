"""Services of the running process: clocks, Ctrl-C, files."""
