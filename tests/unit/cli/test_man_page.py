"""The manual page, which is made from the parser."""

import argparse
import re
import shutil
import subprocess

import pytest

from kvmprobe.cli.grammar.parser import parser
from kvmprobe.cli.man import man_page

PAGE = man_page(parser())


def commands(command):
    yield command
    for action in command._actions:
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from commands(below)


OPTIONS = sorted(
    {
        (command.prog, option)
        for command in commands(parser())
        for action in command._actions
        if action.help != argparse.SUPPRESS
        for option in action.option_strings
    }
    - {(command.prog, option) for command in commands(parser()) for option in ("-h", "--help")}
)


def rendered():
    if not shutil.which("mandoc"):
        pytest.skip("not installed: mandoc")
    shown = subprocess.run(
        ["mandoc", "-Tascii", "-Owidth=200"], input=PAGE, text=True, capture_output=True, check=True
    ).stdout
    return re.sub(r".\x08", "", shown)


def test_mandoc_finds_nothing_wrong_with_it():
    if not shutil.which("mandoc"):
        pytest.skip("not installed: mandoc")
    said = subprocess.run(
        ["mandoc", "-Tlint", "-Wstyle"], input=PAGE, text=True, capture_output=True, check=False
    ).stdout
    # It has no date on purpose: the same version makes the same page.
    assert [line for line in said.splitlines() if "missing date" not in line] == []


def test_its_name_can_be_found_by_apropos():
    # lexgrog(1), man-db: one line, the name, a minus, what it does
    (line,) = re.findall(r"^NAME\n +(.*)$", rendered(), re.MULTILINE)
    assert re.fullmatch(r"kvmprobe - restore a KVM guest's .*", line)


def stands_below(command, option):
    page = PAGE.replace("\\-", "-")
    if command == "kvmprobe":
        return option in page.partition(".SH COMMANDS")[0]
    section = page.partition(f".SS {command} ")[2].partition(".SS ")[0]
    return f"\\fB{option}\\fR" in section


def test_every_option_stands_below_its_command():
    assert [each for each in OPTIONS if not stands_below(*each)] == []


@pytest.mark.parametrize(
    "heading", ["EXIT STATUS", "SELECTION", "EXIT STYLES", "DISKS", "ENVIRONMENT"]
)
def test_what_the_help_ends_with_is_a_section(heading):
    assert f"\n{heading}\n" in rendered()


def test_no_line_of_text_is_read_as_a_request():
    grammar = argparse.ArgumentParser(prog="p", description="a", epilog="list:\n  .x\n  'y\n")
    assert man_page(grammar).count("\\&") == 2


def test_what_is_laid_out_fits_a_terminal():
    # man(1) indents by seven columns
    laid_out = re.findall(r"^\.nf\n(.*?)^\.fi", PAGE.replace("\\-", "-"), re.MULTILINE | re.DOTALL)
    assert [line for text in laid_out for line in text.splitlines() if len(line) > 73] == []
