"""Which tests of a suite are run."""

import pytest

from kvmprobe.errors import UsageError
from kvmprobe.suites.selecting import selected, without_a_match
from kvmprobe.suites.selftest import Collection, Selftest

STATE, AMX = Selftest(Collection.KVM, "state_test"), Selftest(Collection.KVM, "amx_test")
AMX_64, LAM = Selftest(Collection.X86, "amx_64"), Selftest(Collection.X86, "lam_64")
ALL = (STATE, AMX, AMX_64, LAM)


@pytest.mark.parametrize(
    ("select", "exclude", "names"),
    [
        ((), (), (STATE, AMX, AMX_64)),
        (("amx*",), (), (AMX, AMX_64)),
        (("kselftest-x86.*",), (), (AMX_64, LAM)),
        (("kselftest-x86.*", "state_test"), ("amx*",), (STATE, LAM)),
        ((), ("kselftest-kvm.*",), (AMX_64,)),
    ],
)
def test_globs_match_ids_and_names(select, exclude, names):
    assert selected(ALL, select, exclude) == names


@pytest.mark.parametrize(
    ("select", "exclude", "message"),
    [
        (("smx*", "old"), (), r"no test matches smx\*, old; there are kselftest-kvm.state_test,"),
        (("amx_64",), ("amx*",), "leaves no test"),
    ],
)
def test_what_leaves_nothing_is_refused(select, exclude, message):
    with pytest.raises(UsageError, match=message):
        selected(ALL, select, exclude)


def test_a_glob_may_match_nothing_if_another_does():
    assert selected(ALL, ("smx*", "amx_64"), ()) == (AMX_64,)
    assert without_a_match(ALL, ("smx*", "amx_64")) == ["smx*"]
