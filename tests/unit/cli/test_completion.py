"""The completion scripts, read and used by the shells themselves."""

import os
import shutil
import subprocess
import sys
from functools import cache

import pytest

from kvmprobe.cli.completion import script
from tests.support.terminal import on_terminal

# The shells ask for the same words; kvmprobe prints them once.
_COMMAND = """#!/bin/sh
printed="$0.$*"
[ -e "$printed" ] || "{python}" -m kvmprobe.cli.main "$@" >"$printed"
cat "$printed"
"""


@pytest.fixture(scope="module")
def environ(tmp_path_factory):
    """An environment with ``kvmprobe`` in PATH, and a cache with one kernel."""
    folder = tmp_path_factory.mktemp("bin")
    command = folder / "kvmprobe"
    command.write_text(_COMMAND.format(python=sys.executable))
    command.chmod(0o755)
    manifest = folder / "cache" / "kernels" / "0" / "kernel.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_text('{"label": "6.12.95"}')
    paths = {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": ":".join(sys.path)}
    return os.environ | paths | {"KVMPROBE_CACHE": str(folder / "cache"), "HOME": str(folder)}


def needs(shell):
    if not shutil.which(shell):
        pytest.skip(f"not installed: {shell}")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_accepts_its_script(shell):
    needs(shell)
    ended = subprocess.run(
        [shell, "-n"], input=script(shell), text=True, capture_output=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")


# Each reads lines of words and prints what it offers, and "=" after the last.
_BASH = """
eval "$(kvmprobe completion bash)"
while read -r -a COMP_WORDS; do
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMPREPLY=()
    _shtab_kvmprobe kvmprobe "${COMP_WORDS[-1]}" "${COMP_WORDS[-2]}"
    printf '%s\\n' "${COMPREPLY[@]}" =
done
"""
_FISH = """
kvmprobe completion fish | source
while read -l line
    complete -C "$line"
    echo =
end
"""
COMMANDS = {
    "bash": ["bash", "--norc", "-c", _BASH],
    "fish": ["fish", "--no-config", "-c", _FISH],
}


@pytest.fixture(scope="module")
def offers(environ):
    """What a shell offers for each case's words; it starts once."""

    @cache
    def offers(shell):
        needs(shell)
        lines = "".join(f"kvmprobe {words}\n" for words in CASES)
        ended = subprocess.run(
            COMMANDS[shell], env=environ, input=lines, text=True, capture_output=True, check=True
        )
        blocks = ended.stdout.split("=\n")[:-1]
        named = [{line.split("\t")[0] for line in block.splitlines()} for block in blocks]
        return dict(zip(CASES, named, strict=True))

    return offers


CASES = {
    "comp": {"compat", "completion"},
    "run --selec": {"--select"},
    "run --select permission.get.f": {"permission.get.fork"},
    "list --exclude permission.get.f": {"permission.get.fork"},
    "explain permission.get.f": {"permission.get.fork"},
    "run --target l": {"lab"},
    "run --kernel 6.12.": {"6.12.95"},
    "run --print cr": {"crashed"},
    "explain --defect B1": {"B1", "B16", "B17", "B18", "B19"},
    "lab exec --kernel-l": {"--kernel-log"},
}


@pytest.mark.parametrize("shell", COMMANDS)
@pytest.mark.parametrize("words", CASES)
def test_words_are_completed(shell, words, offers):
    assert offers(shell)[words] == CASES[words]


def test_zsh_completes_an_id(environ):
    needs("zsh")
    with on_terminal(["zsh", "-f", "-i"], columns=120, environ=environ, stdin=None) as terminal:
        terminal.press(b"autoload -Uz compinit && compinit -D; PS1='> '\n")
        terminal.press(b'eval "$(kvmprobe completion zsh)"; echo re""ady\n')
        terminal.read_until(lambda lines: "ready" in lines)
        terminal.press(b"kvmprobe run --select permission.get.f\t")
        terminal.read_until(lambda lines: lines[-1].endswith("permission.get.fork"))
        # It also returns when the shell has ended.
        assert terminal.lines[-1].endswith("permission.get.fork")


def test_kernels_in_the_cache_are_offered(environ):
    ended = subprocess.run(
        ["kvmprobe", "completion", "bash", "--kernels"],
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ended.stdout.split() == ["6.12.95", "installed"]
