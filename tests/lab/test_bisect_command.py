"""``kvmprobe bisect`` asks a kernel: the end that is called bad, which is not."""

import pytest

from kvmprobe.cli.main import main
from kvmprobe.errors import ExitCode

pytestmark = pytest.mark.lab


def test_an_end_that_lacks_the_behaviour_ends_it_after_one_boot(capsys):
    # KVM_GET_REG_LIST of x86 came after 6.12: arch/x86/kvm/x86.c, kvm_get_set_one_reg.
    ends = ["--bad", "6.12.43", "--good", "6.12.95"]
    assert main(["bisect", *ends, "--behaviour", "ONE_REG_MSRS"]) == ExitCode.USAGE
    said = capsys.readouterr().out
    assert "6.12.43 was called otherwise: good: does not have ONE_REG_MSRS" in said
