"""What holds of permission after any calls by any threads and processes."""

from __future__ import annotations

import errno

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kvmprobe.model import lifecycle, permission, process
from kvmprobe.model.machine import Machine
from kvmprobe.model.outcome import Failed
from tests.support.hosts import AMX_HOST, B18, VCPU

MAKERS = {
    "thread": process.spawn_thread,
    "fork": process.fork,
    "shared-mm": process.share_memory,
    "exec": process.exec_image,
}
feature_numbers = st.sampled_from([0, 17, 18, 18, 18, 19, 20, 1 << 32 | 18])
tasks = st.sampled_from(["", *MAKERS])
DEFAULT = 0x202E7


class Processes(RuleBasedStateMachine):
    """A process and its tasks, who ask for permission and create vCPUs in any order."""

    def __init__(self):
        super().__init__()
        self.machine = lifecycle.create_vm(Machine.fresh(AMX_HOST)).machine

    def take(self, step):
        before = self.machine
        self.machine = step.machine
        for task in before.tasks:
            old, new = before.process(task), self.machine.process(task)
            # xstate.rst: a permission is never taken back; kernel contract 1: nor is the lock.
            assert not old.guest_perm & ~new.guest_perm
            assert not old.host_perm & ~new.host_perm
            assert new.perm_locked or not old.perm_locked
            # INV-4: what is frozen stays as it is.
            assert not old.perm_locked or old.guest_perm == new.guest_perm
        return step.outcome

    def who(self, task):
        return task if task in self.machine.tasks else ""

    @rule(relation=st.sampled_from(sorted(MAKERS)))
    def spawn(self, relation):
        if relation not in self.machine.tasks:
            self.take(MAKERS[relation](self.machine, relation))

    @rule(by=tasks, nr=feature_numbers)
    def request_for_guests(self, by, nr):
        by = self.who(by)
        before = self.machine.process(by)
        outcome = self.take(permission.request_guest_permission(self.machine, nr, by))
        # INV-4, INV-6
        busy = nr == 18 and before.perm_locked and not before.guest_perm & B18
        assert (outcome == Failed(errno.EBUSY)) == busy
        assert outcome != Failed(errno.ENOSPC)
        # INV-2: the host's own permission stays.
        assert self.machine.process(by).host_perm == before.host_perm

    @rule(by=tasks, nr=feature_numbers)
    def request_for_the_host(self, by, nr):
        by = self.who(by)
        before = self.machine.process(by)
        outcome = self.take(permission.request_host_permission(self.machine, nr, by))
        # INV-5: the guests' lock does not matter.
        assert outcome != Failed(errno.EBUSY)
        assert self.machine.process(by).guest_perm == before.guest_perm

    @rule(by=tasks, size=st.sampled_from([1024, 6144, 65536]))
    def set_a_signal_stack(self, by, size):
        self.take(process.set_altstack(self.machine, size, self.who(by)))

    @rule(by=tasks.filter(lambda task: task != "exec"), number=st.sampled_from([0, 1, 1 << 31]))
    def create_a_vcpu(self, by, number):
        by = self.who(by)
        name = f"{VCPU}-{by}-{number}"
        outcome = self.take(lifecycle.create_vcpu(self.machine, name, by, "vm", number))
        if not isinstance(outcome, Failed):
            assert self.machine.process(by).perm_locked

    @precondition(lambda self: not self.machine.closed)
    @rule(name=st.sampled_from(["kvm", "vm"]))
    def close_a_descriptor(self, name):
        self.take(process.close(self.machine, name))

    @invariant()
    def permission_is_the_default_and_perhaps_tile_data(self):
        # INV-1, INV-7: no supervisor component, not the lock.
        for one in self.machine.processes.values():
            assert {one.guest_perm, one.host_perm} <= {DEFAULT, DEFAULT | B18}

    @invariant()
    def whoever_has_permission_has_stacks_for_it(self):
        # contract 1: ENOSPC before the grant, ENOMEM after it.  A frame has all of XTILE_DATA.
        for task, size in self.machine.altstacks.items():
            assert not self.machine.process(task).host_perm & B18 or size >= 8192


TestProcesses = Processes.TestCase
