"""One test of a suite, and which tests are run if none are named.  Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from kvmprobe.scenarios.scenario_id import SELFTESTS


class Collection(Enum):
    """A directory of ``tools/testing/selftests``."""

    KVM = "kvm"
    X86 = "x86"

    @property
    def family(self) -> str:
        """The first part of the ids of its tests."""
        return f"{SELFTESTS}{self.value}"


# Of x86: what signal frames, ptrace and context switches do with extended state.
_OF_FPU_STATE = ("amx", "apx", "avx", "corrupt_xstate_header", "sigaltstack", "test_shadow_stack")


@dataclass(frozen=True, slots=True)
class Selftest:
    """A test of a built suite.

    :ivar name: of the program, without the directory that some versions have it in
    :ivar problem: why it cannot be run; empty if it can
    """

    collection: Collection
    name: str
    problem: str = ""

    @property
    def id(self) -> str:
        """The id of its records."""
        return f"{self.collection.family}.{self.name}"

    @property
    def by_default(self) -> bool:
        """True if it runs if no tests are named: of x86 those for FPU state, of KVM all but some.

        Tests that measure time say nothing on an emulator.
        """
        if self.collection is Collection.KVM:
            return not self.name.endswith("_perf_test")
        return self.name.removesuffix("_64") in _OF_FPU_STATE
