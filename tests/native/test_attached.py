"""The examples of attached files, replayed and judged on this machine's KVM."""

import json

import pytest
from cpuid import cpuid_count

from kvmprobe.cli.main import main
from kvmprobe.errors import ExitCode
from kvmprobe.model.literal import INDEXED_LEAVES
from kvmprobe.xstate.cpuid import Register
from tests.support.attached import DUMP, FOLDER


@pytest.mark.parametrize(
    "files",
    [("template-avx2.json",), ("template-no-amx.json",), DUMP, (DUMP[0], DUMP[2])],
    ids=["avx2", "no-amx", "dump", "dump-without-sregs"],
)
def test_it_is_judged_and_passes(files, tmp_path):
    scenario, record = tmp_path / "scenario.json", tmp_path / "run.json"
    main(["convert", *(str(FOLDER / name) for name in files), "-o", str(scenario)])
    arguments = ["replay", str(scenario), "--target", "host", "--json", str(record)]
    assert main(arguments) == ExitCode.OK
    (written,) = json.loads(record.read_text())["scenarios"]
    assert written["verdict"] == "PASS"


def _own_leaves():
    """Lines of this processor's leaves, as ``cpuid -r`` writes them."""
    for first in (0, 0x4000_0000, 0x8000_0000):
        last = min(cpuid_count(first, 0)[0], first + 0x40)
        for leaf in range(first, last + 1):
            for subleaf in range(13 if leaf in INDEXED_LEAVES else 1):
                registers = zip(Register, cpuid_count(leaf, subleaf), strict=True)
                values = " ".join(f"{name}=0x{value:08x}" for name, value in registers)
                yield f"   0x{leaf:08x} 0x{subleaf:02x}: {values}"


def test_the_cpuid_of_this_processor_is_judged_and_passes(tmp_path):
    """It has leaves and features that KVM does not offer, which KVM_SET_CPUID2 takes as well."""
    dump, scenario = tmp_path / "own.txt", tmp_path / "scenario.json"
    dump.write_text("\n".join(["CPU 0:", *_own_leaves()]))
    assert main(["convert", str(dump), "-o", str(scenario)]) == ExitCode.OK
    assert main(["replay", str(scenario), "--target", "host"]) == ExitCode.OK
