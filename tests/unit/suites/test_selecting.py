"""Which tests of a suite are run."""

import pytest

from kvmprobe.errors import UsageError
from kvmprobe.suites.selecting import selected
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
        (("smx*",), (), "no test matches 'smx"),
        ((), ("smx*",), "no test matches 'smx"),
        (("amx_64",), ("amx*",), "leaves no test"),
    ],
)
def test_what_leaves_nothing_is_refused(select, exclude, message):
    with pytest.raises(UsageError, match=message):
        selected(ALL, select, exclude)
