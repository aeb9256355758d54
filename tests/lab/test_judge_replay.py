"""``kvmprobe judge --replay`` on the emulated host."""

import json

import pytest

from kvmprobe.cli.main import main
from kvmprobe.errors import ExitCode
from tests.support.recorded_scenarios import recorded
from tests.support.recordings import of_program

pytestmark = pytest.mark.lab
# The last kernel that packages of Debian 12's backports have without the fix of B1.
KERNEL = "6.12.43"
ORDER = "restore.cpuid-msrs-xcrs-xsave.perm-granted.xfd-armed.bv-tiles"


def test_a_recording_of_a_fixed_kernel_takes_an_older_one_down(tmp_path, capsys):
    path = recorded("6.12.95", ORDER, tmp_path / "r")
    assert main(["judge", "--replay", "--json", "--kernel", KERNEL, str(path)]) == ExitCode.DIVERGED
    [judgement] = json.loads(capsys.readouterr().out)["judgements"]
    [died] = [one for one in judgement["findings"] if one["rule"] == "host-died"]
    assert (died["at"][1], died["defects"]) == ("KVM_RUN", ["B1"])
    assert {one["rule"] for one in judgement["findings"]} == {
        "host-died",
        "not-as-modelled",
        "gives-otherwise",
    }


def test_the_kernels_selftest_gets_the_answers_that_were_recorded(tmp_path, capsys):
    path = of_program("kselftest-amx-7.3.4", tmp_path)
    assert main(["judge", "--replay", "--json", "--kernel", "7.3.4", str(path)]) == ExitCode.OK
    [judgement] = json.loads(capsys.readouterr().out)["judgements"]
    assert judgement["findings"] == []
    # Of 492 calls, those that enter the guest or follow it in the recording are not compared.
    assert (judgement["compared"], judgement["judged"]) == (277, 125)
