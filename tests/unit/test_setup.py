"""scripts/setup.sh in a project of its own; its Python only records the calls of pip."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from kvmprobe.build_inputs import PARTS

ROOT = Path(__file__).parents[2]
SORT = shutil.which("sort")
# `-m wait` is a command that uses the environment until its input is closed.
PYTHON = """\
#!/bin/bash
case "$1 $2" in
    "-m venv") mkdir -p "$3/bin" && ln -s "$(readlink -f "$0")" "$3/bin/python" ;;
    "-m pip") printf '%s\\n' "${*:3}" >>"$(dirname "$0")/../pip.log" ;;
    "-m wait") echo started; read -r _ ;;
esac
"""


class Project:
    """A clone with its own scripts/setup.sh."""

    def __init__(self, root):
        self.root = root
        (root / "scripts").mkdir()
        (root / "cdefs").mkdir()
        for folder in ("native", "abi"):
            (root / "kvmprobe" / folder).mkdir(parents=True)
        (root / "kvmprobe/build_inputs.py").touch()
        (root / "cdefs/calls.h").write_text("int ioctl(int, long, ...);\n")
        (root / "pyproject.toml").write_text("[project]\n")
        shutil.copy(ROOT / "scripts/setup.sh", root / "scripts")
        self.tools = tools = root.parent / f"{root.name}-tools"
        tools.mkdir()
        for name, text in {
            "python3": PYTHON,
            "dpkg-query": "#!/bin/sh\necho ii\n",
            "apt-get": "#!/bin/sh\nexit 1\n",
        }.items():
            (tools / name).write_text(text)
            (tools / name).chmod(0o755)
        self.path = f"{tools}:{os.environ['PATH']}"

    def shell(self, command):
        environment = {"PATH": self.path, "HOME": str(self.root)}
        words = ["bash", "-euc", f". scripts/setup.sh; {command}"]
        return subprocess.Popen(
            words,
            cwd=self.root,
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def set_up(self, *groups):
        """Set up; returns what it reported."""
        process = self.shell(f"kvmprobe_setup {' '.join(groups)}")
        _, reported = process.communicate(timeout=30)
        assert process.returncode == 0, reported
        return reported

    def start(self, *groups):
        """Start a command that uses the environment until its input is closed."""
        process = self.shell(f'kvmprobe_setup {" ".join(groups)}; exec "$KVMPROBE_PYTHON" -m wait')
        assert process.stdout.readline() == "started\n"
        return process

    @property
    def environment(self):
        return (self.root / ".venv").resolve()

    @property
    def environments(self):
        return set((self.root / ".venvs").iterdir())

    def installed(self):
        return (self.environment / "pip.log").read_text()


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "clone"
    root.mkdir()
    return Project(root)


def python_of(process):
    """Return the path by which a process was started from its environment."""
    words = Path(f"/proc/{process.pid}/cmdline").read_text().split("\0")
    return Path(next(word for word in words if word.endswith("bin/python")))


def test_a_group_is_added_to_the_environment_that_a_command_uses(project):
    with project.start() as running:
        before = python_of(running)
        reported = project.set_up("test", "check")
        assert before.exists()
        assert before.parents[1] == project.environment
        assert "pyproject.toml:test" in project.installed()
        assert "test check" in reported
        running.communicate()


def test_a_command_that_needs_fewer_groups_changes_nothing(project):
    project.set_up("test")
    before = project.environment, project.installed()
    assert project.set_up() == ""
    assert (project.environment, project.installed()) == before


def test_what_is_compiled_is_no_input(project):
    project.set_up()
    for part in PARTS:
        compiled = project.root / "kvmprobe" / part
        compiled.parent.mkdir(exist_ok=True)
        compiled.touch()
    assert project.set_up() == ""


def test_a_changed_input_makes_another_environment_beside_the_one_in_use(project):
    with project.start("test") as running:
        before = python_of(running)
        (project.root / "cdefs/calls.h").write_text("int ioctl(int, unsigned long, ...);\n")
        reported = project.set_up()
        assert before.exists()
        assert project.environment != before.parents[1]
        assert "cdefs/calls.h" in reported
        assert "pyproject.toml" not in reported
        assert "pyproject.toml:test" in project.installed()  # as the one before
        running.communicate()


def test_what_no_process_uses_is_removed(project):
    project.set_up()
    (project.root / "cdefs/more.h").touch()
    project.set_up()
    assert project.environments == {project.environment}


def test_no_environment_is_removed_while_a_command_runs_through_the_link(project):
    project.set_up()
    before = project.environment
    words = [".venv/bin/python", "-m", "wait"]
    with subprocess.Popen(
        words, cwd=project.root, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        running.stdout.readline()
        (project.root / "cdefs/more.h").touch()
        project.set_up()
        assert project.environments == {before, project.environment}
        running.communicate()


def test_a_failed_installation_leaves_the_link_as_it_was(project):
    project.set_up()
    before = project.environment
    (project.root / "cdefs/more.h").touch()
    failing = project.shell("_build() { return 1; }; kvmprobe_setup || exit $?")
    _, reported = failing.communicate(timeout=30)
    assert failing.returncode == 4
    assert "cdefs/more.h" in reported
    assert project.environment == before


def test_the_locale_of_the_user_is_no_input(project):
    project.set_up()
    # In most locales README.md comes after agent.c, in C before it.
    sort = project.tools / "sort"
    sort.write_text(f'#!/bin/sh\n[ "$LC_ALL" = C ] || set -- -r "$@"\nexec {SORT} "$@"\n')
    sort.chmod(0o755)
    assert project.set_up() == ""
