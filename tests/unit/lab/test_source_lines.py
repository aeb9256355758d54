"""Source lines of a linked file and of a relocatable one, as a kernel and its modules are."""

import subprocess

import pytest

from kvmprobe.coverage.blocks import blocks_of
from kvmprobe.coverage.functions import KernelFunction
from kvmprobe.errors import MissingTools, NoDebugFiles
from kvmprobe.lab import elf
from kvmprobe.lab.source_lines import lines_of

SOURCE = """\
int unrelated(void) { return 7; }

__attribute__((section(".noinstr.text"))) int wanted(int x)
{
	if (x)
		return 3;
	return x - 5;
}
"""


def built(folder, *options):
    """Build the source, at a path as in a kernel's tree."""
    (folder / "arch/x86").mkdir(parents=True, exist_ok=True)
    (folder / "arch/x86/t.c").write_text(SOURCE)
    file = folder / "built"
    command = ["gcc", "-g", "-O0", "-fcf-protection=none", *options, "-o", file, "arch/x86/t.c"]
    subprocess.run(command, cwd=folder, check=True)
    return file


def code_of(file, symbol):
    """Return a function's address in its file and its code."""
    with elf.opened(file) as opened:
        (found,) = opened.get_section_by_name(".symtab").get_symbol_by_name(symbol)
        section = opened.get_section(found["st_shndx"])
        start = found["st_value"] - section["sh_addr"]
        return found["st_value"], section.data()[start : start + found["st_size"]]


def told(file, module, address, code):
    blocks = blocks_of([KernelFunction(module, "wanted", address, code)])
    lines = lines_of(blocks, {module: file})
    return [lines.get(block.start) for block in blocks]


def test_a_block_of_a_linked_file_has_the_line_of_its_address(tmp_path):
    file = built(tmp_path, "-nostdlib", "-static", "-Wl,-e,wanted")
    address, code = code_of(file, "wanted")
    assert told(file, "vmlinux", address, code) == [f"arch/x86/t.c:{n}" for n in (4, 6, 7, 8)]


def test_a_block_of_a_module_has_the_line_of_its_place_in_its_section(tmp_path):
    file = built(tmp_path, "-c")
    _, code = code_of(file, "wanted")
    loaded = 0xFFFF_FFFF_C000_1000
    assert told(file, "kvm", loaded, code) == [f"arch/x86/t.c:{n}" for n in (4, 6, 7, 8)]


def test_code_without_lines_has_none(tmp_path):
    file = built(tmp_path, "-c", "-g0")
    assert told(file, "kvm", 0, code_of(file, "wanted")[1]) == [None] * 4


def test_a_module_without_symbols_is_refused(tmp_path):
    file = built(tmp_path, "-c")
    _, code = code_of(file, "wanted")
    subprocess.run(["objcopy", "--strip-all", file], check=True)
    with pytest.raises(NoDebugFiles, match="it has no symbols"):
        told(file, "kvm", 0, code)


def test_without_addr2line_the_package_that_has_it_is_named(tmp_path, monkeypatch):
    file = built(tmp_path, "-c")
    _, code = code_of(file, "wanted")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingTools, match="binutils"):
        told(file, "kvm", 0, code)
