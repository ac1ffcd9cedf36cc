"""``python -m ppopt``."""

from ppopt.commands.cli import main

if __name__ == "__main__":
    main(prog_name="ppopt")
