"""Reading functions from /proc, from files of its form."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from kvmprobe.coverage.running_kernel import Unreadable, functions_in_scope

if TYPE_CHECKING:
    from pathlib import Path

FPU, KVM = 0xFFFFFFFF81000000, 0xFFFFFFFFC0400000
KALLSYMS = f"""\
{FPU:016x} T fpu_swap_kvm_fpstate
{FPU + 2:016x} T other
{FPU + 4:016x} t fpu_swap_kvm_fpstate.cold
{FPU + 4:016x} t alias_of_it
{FPU + 8:016x} D fpu_update_guest_xfd
{KVM + 6:016x} t another\t[kvm]
{KVM:016x} t __kvm_set_xcr\t[kvm]
{KVM + 5:016x} t __pfx_another\t[kvm]
{KVM + 7:016x} t __kvm_set_xcr\t[other_module]
{KVM + 8:016x} d data\t[kvm]
"""
# call +1, which is `another`
KVM_CODE = bytes.fromhex("e801000000 cc c3 c3 00")


def proc(folder: Path, kallsyms: str, kernel: bytes = b"\x90\xc3\x90\xc3\x0f\x0b\x90\xc3") -> Path:
    (folder / "kallsyms").write_text(kallsyms)
    segments = [(FPU, kernel), (KVM, KVM_CODE)]
    head = bytearray(64 + 56 * len(segments))
    head[:4] = b"\x7fELF"
    struct.pack_into("<Q", head, 32, 64)
    struct.pack_into("<HH", head, 54, 56, len(segments))
    content = bytes(head)
    for number, (address, code) in enumerate(segments):
        entry = (1, 0, len(content), address, 0, len(code), len(code), 0)
        struct.pack_into("<IIQQQQQQ", head, 64 + 56 * number, *entry)
        content += code
    (folder / "kcore").write_bytes(bytes(head) + content[len(head) :])
    return folder


def test_functions_in_scope_with_their_parts_and_text(tmp_path: Path) -> None:
    found = functions_in_scope(proc(tmp_path, KALLSYMS))
    assert [(f.module, f.symbol, f.address, f.code.hex()) for f in found.functions] == [
        ("vmlinux", "fpu_swap_kvm_fpstate", FPU, "90c3"),
        ("vmlinux", "fpu_swap_kvm_fpstate.cold", FPU + 4, "0f0b90c3"),
        ("kvm", "__kvm_set_xcr", KVM, "e801000000"),
    ]


def test_what_they_call_has_its_name(tmp_path: Path) -> None:
    assert functions_in_scope(proc(tmp_path, KALLSYMS)).names[KVM + 6] == "another"


def test_a_kernel_that_hides_its_addresses_is_unreadable(tmp_path: Path) -> None:
    hidden = "\n".join(f"{0:016x}{line[16:]}" for line in KALLSYMS.splitlines())
    with pytest.raises(Unreadable, match="kptr_restrict"):
        functions_in_scope(proc(tmp_path, hidden))


def test_a_kernel_without_kcore_is_unreadable(tmp_path: Path) -> None:
    (proc(tmp_path, KALLSYMS) / "kcore").unlink()
    with pytest.raises(Unreadable, match=r"kcore: No such file"):
        functions_in_scope(tmp_path)


def test_text_outside_of_all_segments_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="is in no segment"):
        functions_in_scope(proc(tmp_path, KALLSYMS, kernel=b"\x90\xc3"))
