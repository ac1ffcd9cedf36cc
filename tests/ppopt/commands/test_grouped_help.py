from __future__ import annotations

import re
from collections import Counter

import click
import pytest

from ppopt.commands.cli import cli
from ppopt.commands.grouped_help import GROUPS, MOST_IN_ONE_LIST, GroupedCommand, long_name
from tests.running import call_ppopt

COMMANDS = {name: cli.get_command(click.Context(cli), name) for name in cli.list_commands(click.Context(cli))}
GROUPED = [name for name, command in COMMANDS.items() if isinstance(command, GroupedCommand)]


def options_of(name: str) -> list[str]:
    command = COMMANDS[name]
    assert command is not None
    return [long_name(each) for each in command.get_params(click.Context(command)) if isinstance(each, click.Option)]


def sections_of(name: str) -> dict[str, list[str]]:
    """Read the headings of a command's help, and the options below each."""
    found: dict[str, list[str]] = {}
    command = COMMANDS[name]
    text = call_ppopt(name, "--help").stdout
    if command is not None and command.epilog:  # it comes last, and may name options
        text = text[: text.index(command.epilog[:30])]
    for line in text.splitlines():
        if re.fullmatch(r"\S.*:", line):
            found[line.removesuffix(":")] = listed = []
        elif match := re.match(r"  (?:-\w, )?(--[\w-]+)", line):
            listed.append(match[1])
    return found


def test_commands_with_long_lists_group_them() -> None:
    assert [name for name in COMMANDS if len(options_of(name)) > MOST_IN_ONE_LIST] == GROUPED


@pytest.mark.parametrize("name", GROUPED)
def test_every_option_is_below_exactly_one_heading(name: str) -> None:
    sections = sections_of(name)
    assert Counter(option for options in sections.values() for option in options) == Counter(options_of(name))
    assert [heading for heading in sections if heading in GROUPS] == list(sections)
    assert [heading for heading in GROUPS if heading in sections] == list(sections)


def test_an_option_is_below_the_same_heading_in_all_commands() -> None:
    counts = Counter(name for names in GROUPS.values() for name in names)
    assert set(counts.values()) == {1}
    assert set(counts) == {option for name in GROUPED for option in options_of(name)}


def test_an_option_without_a_heading_is_shown_all_the_same() -> None:
    command = GroupedCommand("new", params=[click.Option(["--seed"]), click.Option(["--new"], help="Something.")])
    text = command.get_help(click.Context(command))
    assert re.search(r"^Others:\n  --new TEXT  Something\.$", text, re.MULTILINE)


def test_help_names_a_first_command_that_runs() -> None:
    text = call_ppopt("--help").stdout
    first, second = re.findall(r"^ +ppopt (compare .*)$", text, re.MULTILINE)
    run = call_ppopt(*first.replace("--time-limit 10", "--time-limit 0").split())
    assert run.returncode == 0
    assert "1f1b" in run.stdout
    assert call_ppopt(*second.split()).stderr.startswith("error: costs.yaml: ")
