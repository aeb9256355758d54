"""``kvmprobe man``: print the source of the manual page in man(7), generated from the parser.

argparse-manpage leaves out the epilogs of commands, which are the sections SELECTION, SAFETY, DISKS
and so on, and the description in NAME that apropos(1) needs.
"""

from __future__ import annotations

import argparse
import re
import textwrap
from typing import TYPE_CHECKING

from kvmprobe import __version__
from kvmprobe.cli.grammar.parser import parser
from kvmprobe.errors import ExitCode

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

_WIDTH = 78
_ENVIRONMENT = {
    "KVMPROBE_CACHE": "directory of emulator, kernels and downloads; the default is kvmprobe in "
    "XDG_CACHE_HOME or ~/.cache",
    "XDG_STATE_HOME": "directory of the runs, in kvmprobe/runs; the default is ~/.local/state",
    "NO_COLOR": "no colours",
    "CI": "no colours, and lines of text instead of a status line; FORCE_COLOR enables colours",
}


def add_arguments(_man: argparse.ArgumentParser) -> None:
    """Declare no arguments."""


def run(_arguments: argparse.Namespace, _console: Console) -> ExitCode:
    """Print the page."""
    print(man_page(parser()), end="")
    return ExitCode.OK


def man_page(grammar: argparse.ArgumentParser) -> str:
    """Return the page's source.

    :param grammar: the parser; each part of an epilog becomes a section, whose heading is its
        first line, the only one that is not indented
    """
    commands = list(_commands(grammar))
    summary = (grammar.description or "").rstrip(".")
    # No date: the same version makes the same page.
    lines = [
        f'.TH {grammar.prog.upper()} 1 "" "{grammar.prog} {__version__}" "User Commands"',
        ".nh",
        ".ad l",
        ".SH NAME",
        *_text(f"{grammar.prog} - {summary[:1].lower() + summary[1:]}"),
        ".SH SYNOPSIS",
        f".B {grammar.prog}",
        *_text("COMMAND [OPTION]... [ARGUMENT]..."),
        ".br",
        f".B {grammar.prog}",
        *_text("[COMMAND] --help | --version"),
        ".SH COMMANDS",
    ]
    for command, text in commands:
        lines += _command(command, text)
    epilogs = [grammar.epilog or "", *(command.epilog or "" for command, _ in commands)]
    parts = (part for epilog in epilogs for part in re.split(r"^(?=\S)", epilog, flags=re.M))
    for part in dict.fromkeys(filter(None, map(str.rstrip, parts))):
        lines += _section(part)
    lines.append(".SH ENVIRONMENT")
    for name, text in _ENVIRONMENT.items():
        lines += [".TP", f".B {name}", *_text(text)]
    return "\n".join(lines) + "\n"


def _commands(grammar: argparse.ArgumentParser) -> Iterator[tuple[argparse.ArgumentParser, str]]:
    """Yield the commands without subcommands, each with its help."""
    for action in grammar._actions:  # noqa: SLF001 - argparse has no other way to its grammar
        if not isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            continue
        helps = {shown.dest: shown.help or "" for shown in action._choices_actions}  # noqa: SLF001
        for name, command in action.choices.items():
            below = list(_commands(command))
            yield from below or [(command, helps.get(name, ""))]


def _command(command: argparse.ArgumentParser, text: str) -> Iterator[str]:
    positionals = [a for a in command._actions if not a.option_strings]  # noqa: SLF001
    arguments = " ".join(_value(action) for action in positionals)
    options = " [OPTION]..." if any(map(_is_option, command._actions)) else ""  # noqa: SLF001
    yield f".SS {_escaped(f'{command.prog}{options} {arguments}'.rstrip())}"
    yield from _text(text)
    for group in command._action_groups:  # noqa: SLF001
        shown = [a for a in group._group_actions if _is_shown(a)]  # noqa: SLF001
        if shown and group.title not in {"options", "positional arguments"}:
            yield ".PP"
            yield f".I {_escaped(group.title or '')}"
        for action in shown:
            yield from _argument(action)


def _is_option(action: argparse.Action) -> bool:
    return bool(action.option_strings) and _is_shown(action)


def _is_shown(action: argparse.Action) -> bool:
    return action.help != argparse.SUPPRESS and not isinstance(action, argparse._HelpAction)  # noqa: SLF001


def _argument(action: argparse.Action) -> Iterator[str]:
    yield ".TP"
    names = ", ".join(f"\\fB{_escaped(name)}\\fR" for name in action.option_strings)
    value = "" if action.nargs == 0 else f"\\fI{_escaped(_value(action))}\\fR"
    yield _guarded(" ".join(filter(None, (names, value))))
    yield from _text((action.help or "") % vars(action))


def _value(action: argparse.Action) -> str:
    """Return an argument's value as the usage line shows it."""
    name = action.metavar if isinstance(action.metavar, str) else ""
    if not name and action.choices is not None:
        name = "{" + ",".join(map(str, action.choices)) + "}"
    name = name or action.dest.upper()
    if action.nargs == "?":
        return f"[{name}]"
    return f"{name}..." if action.nargs in {"+", "*"} else name


def _section(part: str) -> Iterator[str]:
    """Return a part of an epilog, with its line breaks; its first line is the heading."""
    heading, *rest = part.splitlines()
    yield f".SH {heading.rstrip(':').upper()}"
    yield ".nf"
    for line in textwrap.dedent("\n".join(rest)).splitlines():
        yield _guarded(_escaped(line)) or ".sp"
    yield ".fi"


def _text(text: str) -> Sequence[str]:
    lines = textwrap.wrap(text, _WIDTH, break_on_hyphens=False, break_long_words=False)
    return [_guarded(_escaped(line)) for line in lines]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\e").replace("-", "\\-")


def _guarded(line: str) -> str:
    """Return the line, escaped if man(7) would read it as a request."""
    return f"\\&{line}" if line.startswith((".", "'")) else line
