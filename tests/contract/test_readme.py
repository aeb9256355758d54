"""What the README says of the command, and where it points, is there."""

import argparse
import re
from pathlib import Path

import pytest

from kvmprobe.cli.grammar.parser import parser

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def commands(command):
    """Yield each command that has none below it."""
    below = [a for a in command._actions if isinstance(a, argparse._SubParsersAction)]
    if not below:
        yield command
    for action in below:
        for choice in action.choices.values():
            yield from commands(choice)


COMMANDS = {command.prog.partition(" ")[2]: command for command in commands(parser())}


def named(text):
    """Return the command that a line begins with, None if it is none."""
    words = text.split()
    two, one = " ".join(words[:2]), words[0]
    return COMMANDS.get(two) or COMMANDS.get(one)


LINES = re.findall(r"^    (?:\$ )?(?:scripts/)?kvmprobe (.*)$", README, re.MULTILINE)
LINES += re.findall(r"`(?:scripts/)?kvmprobe ([a-z].*?)`", README)


@pytest.mark.parametrize("usage", LINES)
def test_a_command_takes_the_options_it_is_shown_with(usage):
    own = usage.partition(" -- ")[0]
    shown = set(re.findall(r"--[a-z][a-z0-9-]*", own))
    assert shown <= set(named(usage)._option_string_actions)


def test_no_option_is_named_that_no_command_has():
    options = {option for c in COMMANDS.values() for option in c._option_string_actions}
    others = re.compile(r"^    \$ dask (?:.*\\\n)*.*$", re.MULTILINE)
    shown = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", others.sub("", README)))
    assert shown <= options


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#]+)\)", README))))
def test_a_file_that_is_pointed_to_is_there(target):
    assert (ROOT / target).exists()
