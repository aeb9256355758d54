"""Threads and processes: what a new one has of its maker's, and what it may do with a descriptor.

Permission belongs to the thread group (``group_leader->thread.fpu``), the alternate signal stack
to the thread, VMs to the memory (mm) of the process that created them.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from kvmprobe.model.machine import MAIN, fresh_process
from kvmprobe.model.outcome import Done, Failed, Outcome, Step
from kvmprobe.model.rule import KernelFile, KernelSource, Rule
from kvmprobe.xstate.features import DYNAMIC

if TYPE_CHECKING:
    from kvmprobe.model.host import HostProfile
    from kvmprobe.model.machine import Machine, Process

MINSIGSTKSZ = 2048


SPAWN_THREAD = Rule(
    "a thread shares the permission of its thread group",
    ("INV-2", "INV-4"),
    (
        KernelSource(KernelFile.FPU_CORE, "fpu_clone"),
        KernelSource(KernelFile.FORK, "copy_process"),
    ),
)


def spawn_thread(machine: Machine, task: str) -> Step:
    """Clone with CLONE_THREAD by the scenario's process: permission is the whole group's.

    :see: arch/x86/kernel/fpu/core.c: fpu_clone; kernel/fork.c: copy_process
    """
    tasks = {**machine.tasks, task: machine.tasks[MAIN]}
    return Step(machine._replace(tasks=tasks), Done(), SPAWN_THREAD)


FORK = Rule(
    "fork copies permission and its lock",
    ("INV-5",),
    (
        KernelSource(KernelFile.FPU_CORE, "fpu_inherit_perms"),
        KernelSource(KernelFile.FORK, "copy_process"),
    ),
)


def fork(machine: Machine, task: str) -> Step:
    """Clone without flags: a copy of memory, descriptors, permission, its lock, and signal stack.

    :see: arch/x86/kernel/fpu/core.c: fpu_inherit_perms; kernel/fork.c: copy_process
    """
    parent = machine.process(MAIN)
    child = parent._replace(memory=task, files=task)
    copies = {(task, name) for owner, name in machine.closed if owner == parent.files}
    altstacks = dict(machine.altstacks)
    if MAIN in altstacks:
        altstacks[task] = altstacks[MAIN]
    forked = machine._replace(closed=machine.closed | copies, altstacks=altstacks)
    return _with_new(forked, task, child, FORK)


SHARE_MEMORY = Rule(
    "a new thread group gets a copy of permission and its lock",
    ("INV-5",),
    (
        KernelSource(KernelFile.FPU_CORE, "fpu_inherit_perms"),
        KernelSource(KernelFile.FORK, "copy_process"),
    ),
)


def share_memory(machine: Machine, task: str) -> Step:
    """Clone with CLONE_VM | CLONE_FILES: its own permission, copied; same memory, descriptors.

    :see: arch/x86/kernel/fpu/core.c: fpu_inherit_perms; kernel/fork.c: copy_process
    """
    return _with_new(machine, task, machine.process(MAIN), SHARE_MEMORY)


EXEC_IMAGE = Rule(
    "exec resets permission and its lock",
    ("INV-5",),
    (
        KernelSource(KernelFile.FPU_CORE, "fpu_flush_thread"),
        KernelSource(KernelFile.EXEC, "begin_new_exec"),
    ),
)


def exec_image(machine: Machine, task: str) -> Step:
    """Fork, then execve: default permission, no lock, no signal stack, no descriptors.

    :see: arch/x86/kernel/fpu/core.c: fpu_flush_thread; fs/exec.c: begin_new_exec
    """
    return _with_new(machine, task, fresh_process(machine.host, task), EXEC_IMAGE)


def _with_new(machine: Machine, task: str, process: Process, rule: Rule) -> Step:
    processes = {**machine.processes, task: process}
    tasks = {**machine.tasks, task: task}
    return Step(machine._replace(processes=processes, tasks=tasks), Done(), rule)


GO_ON_IN_CHILD = Rule(
    "a forked child has permission and its lock, and none of its parent's VMs",
    ("INV-5", "INV-41"),
    (
        KernelSource(KernelFile.FPU_CORE, "fpu_inherit_perms"),
        KernelSource(KernelFile.FORK, "copy_process"),
        KernelSource(KernelFile.KVM_MAIN, "kvm_vm_ioctl"),
    ),
)


def go_on_in_child(machine: Machine) -> Step:
    """Fork; the child, with a memory of its own, is from now on the scenario's process.

    It has copies of the descriptors.  /dev/kvm can be used, VMs and vCPUs belong to the parent.

    :see: arch/x86/kernel/fpu/core.c: fpu_inherit_perms; virt/kvm/kvm_main.c: kvm_vm_ioctl
    """
    parent = machine.process(MAIN)
    child = parent._replace(memory=f"child of {parent.memory or 'the first process'}")
    return Step(machine.with_process(MAIN, child), Done(), GO_ON_IN_CHILD)


SET_ALTSTACK = Rule(
    "an alternate signal stack holds the frame of what is permitted",
    ("INV-6",),
    (
        KernelSource(KernelFile.X86_SIGNAL, "sigaltstack_size_valid"),
        KernelSource(KernelFile.SIGNAL, "do_sigaltstack"),
    ),
)


def set_altstack(machine: Machine, size: int, by: str = MAIN) -> Step:
    """sigaltstack: refused if a signal frame with the host permission's components may not fit.

    The frame has less than 1 KiB more than those; sizes that are larger by less count as large
    enough.

    :see: kernel/signal.c: do_sigaltstack; arch/x86/kernel/signal.c: sigaltstack_size_valid
    """
    perm = machine.process(by).host_perm
    if size < MINSIGSTKSZ or (perm & DYNAMIC and size <= frame_size(machine.host, perm)):
        return Step(machine, Failed(errno.ENOMEM), SET_ALTSTACK)
    return Step(machine._replace(altstacks={**machine.altstacks, by: size}), Done(), SET_ALTSTACK)


def frame_size(host: HostProfile, components: int) -> int:
    """Return the bytes that a signal frame takes at least.

    :see: arch/x86/kernel/signal.c: get_sigframe_size, validate_sigaltstack
    """
    return host.layout.size(components)


LIMIT_DESCRIPTORS = Rule(
    "RLIMIT_NOFILE is a limit of the process",
    (),
    (
        KernelSource(KernelFile.SYS, "do_prlimit"),
        KernelSource(KernelFile.FILE, "alloc_fd"),
    ),
)


def limit_descriptors(machine: Machine) -> Step:
    """setrlimit(RLIMIT_NOFILE) to the descriptors there are; threads are limited with it.

    :see: kernel/sys.c: do_prlimit; fs/file.c: alloc_fd
    """
    limited = machine.with_process(MAIN, machine.process(MAIN)._replace(limited=True))
    return Step(limited, Done(), LIMIT_DESCRIPTORS)


CLOSE = Rule(
    "closing a descriptor resets neither permission nor its lock nor a vCPU id",
    ("INV-5",),
    (
        KernelSource(KernelFile.KVM_MAIN, "kvm_vcpu_release"),
        KernelSource(KernelFile.KVM_MAIN, "kvm_vm_release"),
    ),
)


def close(machine: Machine, name: str) -> Step:
    """Close a descriptor of the scenario's process; others' copies stay open, the VM alive.

    Neither permission nor its lock changes with it, nor is a vCPU's id free again.

    :see: virt/kvm/kvm_main.c: kvm_vm_release, kvm_vcpu_release
    """
    place = (machine.process(MAIN).files, name)
    if place in machine.closed:
        return Step(machine, Failed(errno.EBADF), CLOSE)
    return Step(machine._replace(closed=machine.closed | {place}), Done(), CLOSE)


OTHER_MEMORY = Rule(
    "the descriptor of another memory fails with EIO, a closed one with EBADF",
    ("INV-41",),
    (
        KernelSource(KernelFile.KVM_MAIN, "kvm_vm_ioctl"),
        KernelSource(KernelFile.KVM_MAIN, "kvm_vcpu_ioctl"),
        KernelSource(KernelFile.FILE, "fdget"),
    ),
)


def denied(machine: Machine, on: str, by: str = MAIN) -> Outcome | None:
    """Return what an ioctl fails with before it is looked at: closed, or of another memory.

    /dev/kvm itself may be used from any.

    :see: fs/file.c: fdget; virt/kvm/kvm_main.c: kvm_vm_ioctl, kvm_vcpu_ioctl
    """
    process = machine.process(by)
    if (process.files, on) in machine.closed:
        return Failed(errno.EBADF)
    owner = machine.vcpus.get(on) or machine.vms.get(on)
    if owner is not None and owner.memory != process.memory:
        return Failed(errno.EIO)
    return None
