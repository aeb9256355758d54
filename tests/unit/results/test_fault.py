"""What identifies a fault, on consoles of real kernels (tests/golden/console/README.md)."""

from __future__ import annotations

import lzma
import tarfile
import tomllib
from functools import cache
from itertools import chain
from pathlib import Path

import pytest

from kvmprobe.results.console_text import find_panic, find_reports
from kvmprobe.results.fault import Fault, FaultKind, fault

CONSOLES = Path(__file__).parents[2] / "golden" / "console"
TABLE = tomllib.loads((CONSOLES / "faults.toml").read_text())
# Reports of two processors, mixed: of each the function is known, and not always the callers.
MIXED = {"two", "two-oopses"}
# Call traces that were asked for, and a task that was killed.
NO_FAULT = {"sysrq-lw", "out-of-memory"}
# Without the panic that the emulated host makes of an oops; or on two processors.
VARIANTS = ("-oops", "-panic", "-two", "-lives")


@cache
def logs():
    with lzma.open(CONSOLES / "faults.tar.xz") as raw, tarfile.open(fileobj=raw) as archive:
        return {
            Path(member.name).stem: archive.extractfile(member).read().decode()
            for member in archive
        }


def defect(name):
    """Return the table's name of a log."""
    _, _, of = name.partition("-")
    for end in VARIANTS:
        if of not in TABLE:
            of = of.removesuffix(end)
    return of


def faults(text):
    panic = find_panic(text)
    reports = [panic] if panic else find_reports(text)
    return [fault(one.headline, (one.function, *one.frames)) for one in reports]


FAULTY = sorted(name for name in logs() if defect(name) not in NO_FAULT)
WHOLE = [name for name in FAULTY if defect(name) not in MIXED]


def test_there_are_enough_logs_of_each_kind():
    kinds = {TABLE[defect(name)]["kind"] for name in FAULTY}
    assert len(FAULTY) >= 40
    assert kinds >= {"panic", "oops", "BUG", "warning", "hung task", "RCU stall", "sanitizer"}


@pytest.mark.parametrize("name", FAULTY)
def test_a_fault_is_classified(name):
    expected = TABLE[defect(name)]
    path = (expected["function"], *expected["callers"])
    for found in faults(logs()[name])[:1]:
        assert (found.kind, found.what) == (expected["kind"], expected["what"])
        assert found.path[: len(path)] == path
        break
    else:
        pytest.fail("no fault was found")


def test_a_defect_has_one_identity_on_all_kernels_and_no_other_has_it():
    identities = {}
    for name in WHOLE:
        identities.setdefault(defect(name), set()).add(faults(logs()[name])[0])
    assert {name: found for name, found in identities.items() if len(found) > 1} == {}
    assert len(set(chain(*identities.values()))) == len(identities)


def test_the_panics_of_scenarios_have_one_identity_on_all_kernels():
    # B1 and O1 end in the same load of the guest FPU.
    found = {faults(path.read_text())[0] for path in CONSOLES.glob("*-xfd*.log")}
    path = ("restore_fpregs_from_fpstate", "fpu_swap_kvm_fpstate", "kvm_arch_vcpu_ioctl_run")
    assert found == {Fault(FaultKind.OOPS, "unexpected #NM exception", path)}


@pytest.mark.parametrize("name", sorted(set(logs()) - set(FAULTY)))
def test_what_was_only_asked_for_is_no_fault(name):
    assert faults(logs()[name]) == []


@pytest.mark.parametrize("name", WHOLE)
def test_a_log_cut_anywhere_has_the_fault_or_less(name):
    text = logs()[name]
    (whole, *_) = faults(text)
    for end in range(0, len(text), 997):
        for found in faults(text[:end])[:1]:
            assert found.path[:1] in ((), whole.path[:1], ("__schedule",))


@pytest.mark.parametrize("name", sorted(set(FAULTY) - set(WHOLE)))
def test_mixed_reports_blame_no_other_function(name):
    assert {found.path[:1] for found in faults(logs()[name])} == {
        (TABLE[defect(name)]["function"],)
    }


@pytest.mark.parametrize(
    ("line", "what"),
    [
        # mm/kasan/report.c: print_error_description
        (
            "BUG: KASAN: slab-use-after-free in fpu_swap_kvm_fpstate+0x1b/0x2c",
            "fpu_swap_kvm_fpstate",
        ),
        # kernel/watchdog.c: watchdog_hardlockup_check
        ("watchdog: CPU3: Watchdog detected hard LOCKUP on cpu 3", ""),
        ("NMI watchdog: Watchdog detected hard LOCKUP on cpu 0", ""),
        ("watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [qemu:99]", ""),
    ],
)
def test_first_lines_that_no_log_here_has(line, what):
    (report,) = find_reports(f"[    1.000000] {line}\n")
    assert report.function == what
    assert fault(report.headline) is not None
