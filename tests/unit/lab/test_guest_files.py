import os
import subprocess
import sys
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from kvmprobe.errors import UsageError
from kvmprobe.lab import elf, guest_files
from kvmprobe.lab.initramfs import FileTree

SEARCH = os.environ["PATH"]
SOURCE = "int main(void) { return 0; }\n"


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A program that needs a library of its own, by RUNPATH."""
    folder = tmp_path_factory.mktemp("compiled")
    (folder / "lib.c").write_text("int answer(void) { return 7; }\n")
    (folder / "main.c").write_text("int answer(void); int main(void) { return answer(); }\n")
    cc = ["gcc", "-g", "-o"]
    subprocess.run([*cc, "libanswer.so", "-shared", "-fPIC", "lib.c"], cwd=folder, check=True)
    linked = ["main.c", "-L.", "-lanswer", "-Wl,-rpath,$ORIGIN"]
    subprocess.run([*cc, "dynamic", *linked], cwd=folder, check=True)
    (folder / "plain.c").write_text(SOURCE)
    subprocess.run([*cc, "static", "-static", "plain.c"], cwd=folder, check=True)
    return folder


def closure(program):
    tree = FileTree()
    guest_files.add_program(tree, program, SEARCH)
    return tree


def test_a_dynamic_program_comes_with_libraries_and_loader(compiled):
    tree = closure(compiled / "dynamic")
    listing = subprocess.run(
        ["ldd", compiled / "dynamic"], capture_output=True, text=True, check=True
    )
    expected = [word for word in listing.stdout.split() if word.startswith("/")]
    assert str(compiled / "libanswer.so") in expected
    for path in expected:
        assert os.path.realpath(path) in tree


def test_what_the_c_library_opens_late_comes_along(compiled):
    late = Path("/lib/x86_64-linux-gnu/libgcc_s.so.1")
    assert late.exists()
    assert os.path.realpath(late) in closure(compiled / "dynamic")


def test_a_loader_whose_name_is_longer_than_its_program_is_refused(compiled, tmp_path):
    with (compiled / "dynamic").open("rb") as file:
        headers = ELFFile(file)
        types = [segment["p_type"] for segment in headers.iter_segments()]
        header = headers["e_phoff"] + types.index("PT_INTERP") * headers["e_phentsize"]
    content = bytearray((compiled / "dynamic").read_bytes())
    content[header + 32 : header + 40] = (1 << 40).to_bytes(8, "little")  # p_filesz
    damaged = tmp_path / "damaged"
    damaged.write_bytes(content)
    damaged.chmod(0o755)
    with pytest.raises(UsageError, match="PT_INTERP has no 1099511627776 bytes in the file"):
        closure(damaged)


def test_a_static_program_comes_alone(compiled):
    tree = closure(compiled / "static")
    files = [path for path, node in tree._nodes.items() if node.content]
    assert files == [str(compiled / "static")]


def test_a_library_that_is_not_installed_is_named(compiled, tmp_path):
    lonely = tmp_path / "lonely"
    lonely.write_bytes((compiled / "dynamic").read_bytes())
    lonely.chmod(0o755)
    with pytest.raises(UsageError, match=r"libanswer\.so"):
        closure(lonely)


@pytest.mark.parametrize(
    "line", ["#!/bin/sh -e", "#! /bin/sh", "#!/usr/bin/env sh", "#!/usr/bin/env -S sh -e"]
)
def test_a_script_comes_with_its_interpreter(tmp_path, line):
    script = tmp_path / "script"
    script.write_text(f"{line}\ntrue\n")
    script.chmod(0o755)
    tree = closure(script)
    assert str(script) in tree
    assert os.path.realpath("/bin/sh") in tree
    assert os.path.realpath("/lib64/ld-linux-x86-64.so.2") in tree
    assert ("/usr/bin/env" in tree) == ("env" in line)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("#!/no/such/interpreter\n", "does not exist"),
        ("#!\n", "no interpreter in"),
        ("plain text\n", "neither an ELF program nor a script"),
        ("#!/usr/bin/env no-such-program-anywhere\n", "no such program"),
    ],
)
def test_what_cannot_be_started_is_refused(tmp_path, content, complaint):
    script = tmp_path / "script"
    script.write_text(content)
    script.chmod(0o755)
    with pytest.raises(UsageError, match=complaint):
        closure(script)


def test_a_program_of_another_architecture_is_refused(compiled, tmp_path):
    other = bytearray((compiled / "static").read_bytes())
    other[18] = 183  # EM_AARCH64
    (tmp_path / "other").write_bytes(other)
    with pytest.raises(UsageError, match="not an x86-64 program"):
        closure(tmp_path / "other")


def test_programs_are_found_as_a_shell_finds_them(tmp_path, monkeypatch):
    program = tmp_path / "tool"
    program.write_text("#!/bin/sh\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="not executable"):
        guest_files.find_program("./tool", SEARCH)
    program.chmod(0o755)
    assert guest_files.find_program("./tool", SEARCH) == program
    assert guest_files.find_program("tool", str(tmp_path)) == program
    with pytest.raises(UsageError):
        guest_files.find_program("tool", "/nowhere")


def test_a_program_runs_without_its_debug_sections(compiled, tmp_path):
    whole = (compiled / "static").read_bytes()
    cut = guest_files.without_debug_sections(whole)
    assert len(cut) < len(whole)
    program = tmp_path / "cut"
    program.write_bytes(cut)
    program.chmod(0o755)
    assert subprocess.run([program], check=False).returncode == 0


def test_this_interpreter_is_x86_64():
    assert elf.is_x86_64(guest_files.find_program(sys.executable, SEARCH))
    assert not elf.is_x86_64(Path(__file__))
