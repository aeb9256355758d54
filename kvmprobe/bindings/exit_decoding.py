"""``struct kvm_run`` as an :data:`~kvmprobe.bindings.exits.Exit`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kvmprobe.abi.numbers import InternalError, KvmExit
from kvmprobe.bindings import exits

if TYPE_CHECKING:
    from collections.abc import Callable
    from mmap import mmap

    from kvmprobe.bindings.exits import Exit

# `run` is a cffi pointer to struct kvmprobe_run_head.


def decode(run: Any, memory: mmap) -> Exit:  # noqa: ANN401 - cffi is untyped
    """Return why the guest stopped.

    :param memory: the whole area, which holds the bytes of I/O
    :see: Documentation/virt/kvm/api.rst "The kvm_run structure"
    """
    reason = int(run.exit_reason)
    if reason == KvmExit.IO:
        return _io(run, memory)
    if reason in _DECODERS:
        return _DECODERS[reason](run)
    return exits.OtherExit(KvmExit(reason) if reason in set(KvmExit) else reason)


def io_place(run: Any) -> range:  # noqa: ANN401
    """Return where in the area the bytes of an IN or OUT lie."""
    return range(run.io.data_offset, run.io.data_offset + run.io.size * run.io.count)


def _io(run: Any, memory: mmap) -> Exit:  # noqa: ANN401
    direction, place = exits.IoDirection(run.io.direction), io_place(run)
    is_out = direction is exits.IoDirection.OUT
    written = memory[place.start : place.stop] if is_out else b""
    return exits.IoExit(direction, run.io.port, run.io.size, run.io.count, written)


def _mmio(run: Any) -> Exit:  # noqa: ANN401
    mmio = run.mmio
    written = bytes(mmio.data)[: mmio.len] if mmio.is_write else b""
    return exits.MmioExit(exits.MmioDirection(mmio.is_write), mmio.phys_addr, mmio.len, written)


def _internal_error(run: Any) -> Exit:  # noqa: ANN401
    internal = run.internal
    suberror = int(internal.suberror)
    if suberror in set(InternalError):
        suberror = InternalError(suberror)
    return exits.InternalErrorExit(suberror, tuple(internal.data)[: internal.ndata])


def _hypercall(run: Any) -> Exit:  # noqa: ANN401
    hypercall = run.hypercall
    return exits.HypercallExit(hypercall.nr, tuple(hypercall.args), hypercall.longmode)


def _system_event(run: Any) -> Exit:  # noqa: ANN401
    event = run.system_event
    return exits.SystemEventExit(event.type, tuple(event.data)[: event.ndata])


def _debug(run: Any) -> Exit:  # noqa: ANN401
    debug = run.debug
    return exits.DebugExit(debug.exception, debug.pc, debug.dr6, debug.dr7)


def _fail_entry(run: Any) -> Exit:  # noqa: ANN401
    failure = run.fail_entry
    return exits.FailEntryExit(failure.hardware_entry_failure_reason, failure.cpu)


_DECODERS: dict[int, Callable[[Any], Exit]] = {
    KvmExit.UNKNOWN: lambda run: exits.UnknownExit(run.hardware_exit_reason),
    KvmExit.HYPERCALL: _hypercall,
    KvmExit.DEBUG: _debug,
    KvmExit.HLT: lambda _: exits.HltExit(),
    KvmExit.MMIO: _mmio,
    KvmExit.SHUTDOWN: lambda _: exits.ShutdownExit(),
    KvmExit.FAIL_ENTRY: _fail_entry,
    KvmExit.INTERNAL_ERROR: _internal_error,
    KvmExit.SYSTEM_EVENT: _system_event,
    KvmExit.X86_RDMSR: lambda run: exits.MsrReadExit(run.msr.reason, run.msr.index),
    KvmExit.X86_WRMSR: lambda run: exits.MsrWriteExit(run.msr.reason, run.msr.index, run.msr.data),
}
