"""``kvmprobe completion``: a shell's completion script, and words that it looks up."""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import shtab

from kvmprobe.cli.grammar.parser import parser
from kvmprobe.errors import ExitCode
from kvmprobe.lab.cache import Cache
from kvmprobe.lab.kernel_store import labels
from kvmprobe.reports.printing import NAMES
from kvmprobe.results.known import known_defects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

SHELLS = ("bash", "zsh", "fish")

Completer = Mapping[str, str | dict[str, str]]

# Functions of the scripts; they look up their words when the key is pressed.
_PREAMBLE = {
    "bash": """
_kvmprobe_scenarios() { compgen -W "$(kvmprobe list 2>/dev/null)" -- "$1"; }
_kvmprobe_scenario_or_file() { _kvmprobe_scenarios "$1"; compgen -f -X '!*.json' -- "$1"; }
_kvmprobe_kernels() {
  compgen -W "$(kvmprobe completion bash --kernels 2>/dev/null)" -- "$1"
  compgen -f -- "$1"
}
_kvmprobe_verdicts() { compgen -W "VERDICTS" -- "$1"; }
_kvmprobe_defects() { compgen -W "DEFECTS" -- "$1"; }
""",
    "zsh": """
_kvmprobe_scenarios() { compadd -- ${(f)"$(kvmprobe list 2>/dev/null)"} }
_kvmprobe_scenario_or_file() { _kvmprobe_scenarios; _files -g '*.json' }
_kvmprobe_kernels() {
  compadd -- ${(f)"$(kvmprobe completion zsh --kernels 2>/dev/null)"}
  _files
}
_kvmprobe_verdicts() { compadd -- VERDICTS }
_kvmprobe_defects() { compadd -- DEFECTS }
""",
    "fish": """
function _kvmprobe_scenarios; kvmprobe list 2>/dev/null; end
function _kvmprobe_scenario_or_file; _kvmprobe_scenarios; __fish_complete_suffix .json; end
function _kvmprobe_kernels
  kvmprobe completion fish --kernels 2>/dev/null
  __fish_complete_path (commandline -ct)
end
function _kvmprobe_verdicts; string split ' ' 'VERDICTS'; end
function _kvmprobe_defects; string split ' ' 'DEFECTS'; end
""",
}


def add_arguments(completion: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    completion.add_argument(
        "shell",
        choices=SHELLS,
        metavar="SHELL",
        help=f'{", ".join(SHELLS)}; for bash: eval "$(kvmprobe completion bash)"',
    )
    # The scripts call it when the key is pressed.
    completion.add_argument("--kernels", action="store_true", help=argparse.SUPPRESS)


def run(arguments: argparse.Namespace, _console: Console) -> ExitCode:
    """Print the script, or one kernel in each line."""
    if arguments.kernels:
        print("\n".join(sorted({"installed", *labels(Cache.from_environment())})))
    else:
        print(script(arguments.shell))
    return ExitCode.OK


def script(shell: str) -> str:
    """Return a shell's completion script."""
    grammar = parser()
    for action in _actions(grammar):
        _describe(action)
    verdicts, defects = " ".join(NAMES), " ".join(d.id for d in known_defects().values())
    preamble = _PREAMBLE[shell].replace("VERDICTS", verdicts).replace("DEFECTS", defects)
    return shtab.complete(grammar, shell, preamble=preamble)


def _own(function: str) -> Completer:
    return {"bash": function, "zsh": function, "fish": f"({function})"}


# What completes a value, by its metavar.
_COMPLETERS: Mapping[str, Completer] = {
    "FILE": shtab.FILE,
    "PATH": shtab.FILE,
    "RUN": shtab.FILE,
    "BEFORE": shtab.FILE,
    "AFTER": shtab.FILE,
    "DIR": shtab.DIRECTORY,
    "EXPRESSION": _own("_kvmprobe_scenarios"),
    "SCENARIO": _own("_kvmprobe_scenario_or_file"),
    "SPEC": _own("_kvmprobe_kernels"),
    "VERDICT": _own("_kvmprobe_verdicts"),
    "ID": _own("_kvmprobe_defects"),
}


def _actions(command: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in command._actions:  # noqa: SLF001 - argparse has no other way to its grammar
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for sub in action.choices.values():
                yield from _actions(sub)
        else:
            yield action


def _describe(action: argparse.Action) -> None:
    """Declare what completes an option; shtab allows no punctuation in a metavar."""
    if isinstance(action.metavar, str):
        name, *_ = re.findall(r"[A-Z]+", action.metavar)
        action.metavar = name
        if name in _COMPLETERS:
            vars(action)["complete"] = _COMPLETERS[name]
