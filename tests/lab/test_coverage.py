"""Coverage of unmodified kernels: a defect is in the blocks of the scenario that shows it."""

import re
import subprocess
from dataclasses import dataclass
from functools import cache

import pytest

from kvmprobe.coverage.coverage_file import read_file
from kvmprobe.coverage.of_run import coverage_of_directory
from kvmprobe.coverage.reasons import reasons
from kvmprobe.coverage.scope import source_name
from kvmprobe.coverage.summary import Summary
from kvmprobe.errors import ExitCode
from kvmprobe.lab import kernels
from kvmprobe.lab.watched_kernel import KernelReader
from kvmprobe.progress import Silent
from tests.support.command import COMMAND
from tests.support.reached import stored

pytestmark = pytest.mark.lab


@dataclass(frozen=True)
class Guilt:
    """A defect's scenario, its kernel, the blocks that do it, and those that would prevent it.

    A block is a function in C and a regular expression for one of its instructions.
    """

    scenario: str
    kernel: str
    guilty: tuple[tuple[str, str], ...]
    missed: tuple[tuple[str, str], ...] = ()


LOADS = ("restore_fpregs_from_fpstate", r"^xrstors64 ")
GUILT = {
    # XFD is written; XSTATE_BV is cleared only if TIF_NEED_FPU_LOAD is set; the load dies.
    "O1": Guilt(
        "restore.cpuid-xcrs-xsave-msrs.perm-granted.xfd-armed.bv-tiles",
        "7.3.4",
        (("fpu_update_guest_xfd", r"^mov \[rax\+0x18\],rbx$"), LOADS),
        (("fpu_update_guest_xfd", r"^not "),),
    ),
    # The image is copied with its header, whatever XFD is; the load dies.
    "B1": Guilt(
        "restore.cpuid-xcrs-msrs-xsave.perm-granted.xfd-armed.bv-tiles",
        "6.12.43",
        (("fpu_copy_uabi_to_guest_fpstate", r"copy_uabi_from_kernel_to_xstate$"), LOADS),
    ),
    # A larger FPU state is allocated; what was in the old one is saved only from registers.
    "O3": Guilt(
        "restore.xsave-xcrs-msrs-cpuid.perm-granted.xfd-armed.bv-legacy",
        "7.3.4",
        (("__xfd_enable_feature", r"^call vzalloc"),),
        (("__xfd_enable_feature", r"^call restore_fpregs_from_fpstate$"),),
    ),
    # The process's permissions are asked, and XTILE_DATA alone is left out.
    "B4": Guilt(
        "restore.cpuid-xcrs-msrs-xsave.perm-none.xfd-zero.bv-zero",
        "6.1.192",
        (("__do_cpuid_func", r"^call xstate_get_guest_group_perm$"),),
    ),
}


def kvmprobe(*arguments):
    ended = subprocess.run(
        [*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    return ended.returncode, ended.stdout + ended.stderr


def matching(measured, reached, function, instruction):
    """Return whether blocks of a function with such an instruction are in a set; of each."""
    return [
        bool(reached >> number & 1)
        for number, block in enumerate(measured.blocks)
        if source_name(block.function.symbol) == function
        and any(re.search(instruction, line) for line in measured.disassembly.lines(block))
    ]


@pytest.fixture(scope="module")
def measured_on(tmp_path_factory):
    """Return the coverage of one run of a kernel, with the scenarios of all its defects."""

    @cache
    def run_of(kernel):
        out = tmp_path_factory.mktemp("guilt") / "run"
        select = [
            word
            for guilt in GUILT.values()
            if guilt.kernel == kernel
            for word in ("--select", guilt.scenario)
        ]
        given = ("--kernel", kernel, *select, "--observe", "each", "--out", out, "--coverage")
        status, said = kvmprobe("run", *given)
        assert status == ExitCode.DIVERGED, said
        (measured,) = coverage_of_directory(out).values()
        return measured

    return run_of


@pytest.mark.parametrize("guilt", GUILT.values(), ids=GUILT)
def test_a_defects_guilty_block_is_reached_by_its_scenario(measured_on, guilt):
    measured = measured_on(guilt.kernel)
    reached = measured.by_scenario[guilt.scenario]
    for block in guilt.guilty:
        assert any(matching(measured, reached, *block)), block
    for block in guilt.missed:
        of_each = matching(measured, reached, *block)
        assert of_each, block
        assert not any(of_each), block


def test_a_program_of_the_users_own_is_measured(tmp_path, conformance_programs):
    file, program = tmp_path / "coverage.json", conformance_programs / "xsave_guest"
    given = ("--kernel", "7.3.4", "--file", program, "--coverage", file)
    status, said = kvmprobe("lab", "exec", *given, "--", program)
    assert status == ExitCode.OK, said
    (measured,) = read_file(file).values()
    assert list(measured.by_scenario) == [str(program)]
    assert any(matching(measured, measured.reached, "kvm_arch_dev_ioctl", "."))
    assert not any(matching(measured, measured.reached, "kvm_vcpu_ioctl_x86_set_debugregs", "."))
    status, said = kvmprobe("coverage", file)
    assert status == ExitCode.OK, said
    assert "kvm: kvm_arch_dev_ioctl" in said


def functions_of(machine_parts, kernel):
    archives, built = machine_parts
    resolved = kernels.resolve(kernel, modules_dir=None, archives=archives, progress=Silent())
    return KernelReader(archives.cache, built).functions(resolved, Silent())


@pytest.fixture(scope="module")
def by_kernel(machine_parts):
    """Return what the whole catalogue reached of each kernel, as it is stored."""
    return {k: stored(k, functions_of(machine_parts, k)) for k in ("7.3.4", "6.12.95")}


def test_nearly_all_blocks_are_reached_or_have_a_reason(by_kernel):
    for kernel, measured in by_kernel.items():
        assert Summary.of(measured, kernel).share >= 0.95, kernel


def test_no_block_was_reached_that_cannot_execute_by_its_reason(by_kernel):
    for kernel, measured in by_kernel.items():
        contradicted = Summary.of(measured, kernel).contradicted
        places = [measured.disassembly.place(measured.blocks[n]) for n in contradicted]
        assert places == [], kernel


def test_each_reason_is_of_a_block_that_was_not_reached(by_kernel):
    used = set()
    for kernel, measured in by_kernel.items():
        used |= {reason.text for reason in Summary.of(measured, kernel).reason.values()}
    assert {reason.text for reason in reasons()} - used == set()


def test_each_place_of_a_reason_is_a_block_that_was_not_reached(by_kernel):
    for kernel, measured in by_kernel.items():
        unreached = {
            measured.disassembly.place(block)
            for number, block in enumerate(measured.blocks)
            if not measured.reached >> number & 1
        }
        for reason in reasons():
            assert set(reason.at.get(kernel, ())) <= unreached, reason.text
