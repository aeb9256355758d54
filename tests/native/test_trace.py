"""``kvmprobe trace`` records what a program asks of /dev/kvm, and leaves the program as it is."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from kvmprobe.abi import ioctls
from kvmprobe.abi.fields import KVM_RUN
from kvmprobe.abi.numbers import ArchPrctlCode, KvmExit
from kvmprobe.errors import ExitCode, RecordingTruncated
from kvmprobe.recordings.lines import (
    Call,
    End,
    EndReason,
    ObjectKind,
    ObjectLine,
    Permission,
    ProcessChange,
    ProcessLine,
    Run,
    Runs,
    Unread,
)
from kvmprobe.xstate.image import xstate_bv_of
from tests.support.command import COMMAND, kvmprobe
from tests.support.traced import compiled, entries, trace

DEADLINE = 60.0
VCPUS = 8
# struct kvm_run: exit_reason is at 8 (linux/kvm.h).
REASON = slice(8, 12)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("traced"))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "vmm.jsonl"


def _wait(condition):
    """Return what becomes true."""
    end = time.monotonic() + DEADLINE
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return found


def _called(path):
    return [e.spec.name for e in entries(path, Call) if e.spec and e.target.kind is ObjectKind.VCPU]


def test_a_static_program_is_recorded_whole(program, path):
    ended = trace(path, program, "restore", 20)
    # Which components are in INIT state, and so left out, is up to the processor (SDM vol.1 13.6).
    assert ended.stdout.startswith("XSTATE_BV ")
    assert ended.returncode == 0
    assert _called(path) == [
        "KVM_SET_CPUID2",
        "KVM_SET_XCRS",
        "KVM_GET_XSAVE",
        "KVM_SET_XSAVE",
        "KVM_SET_XSAVE",
        "KVM_GET_SREGS",
        "KVM_SET_SREGS",
        "KVM_SET_REGS",
        "KVM_GET_XSAVE",
    ]
    assert entries(path, End)[0].line.reason is EndReason.ENDED


def test_payloads_and_results_are_those_of_the_calls(program, path):
    trace(path, program, "restore", 1)
    images = [e for e in entries(path, Call) if e.spec is ioctls.SET_XSAVE]
    assert [(xstate_bv_of(e.sent), e.line.result) for e in images] == [
        (3, 0),
        (3 | 1 << 62, -22),
    ]
    assert images[0].sent[160:176] == b"\xa5" * 16
    (tables,) = (e for e in entries(path, Call) if e.spec is ioctls.SET_CPUID2)
    (supported,) = (e for e in entries(path, Call) if e.spec is ioctls.GET_SUPPORTED_CPUID)
    assert tables.sent == supported.got
    # The program has room for 256 entries and got fewer.
    assert len(supported.sent) == 8 + 256 * 40 > len(supported.got)


def test_objects_are_those_of_the_program(program, path):
    trace(path, program, "restore", 1)
    found = [(e.line.kind, e.line.of, e.line.number) for e in entries(path, ObjectLine)]
    assert found == [
        (ObjectKind.KVM, None, None),
        (ObjectKind.VM, "kvm0", None),
        (ObjectKind.VCPU, "vm0", 0),
    ]


def test_permission_calls_are_recorded(program, path):
    trace(path, program, "restore", 1)
    (permission,) = entries(path, Permission)
    assert permission.line.code == ArchPrctlCode.GET_XCOMP_GUEST_PERM
    # FP and SSE are always permitted.
    assert permission.line.bitmap & 3 == 3


def test_the_first_run_after_a_call_is_recorded_and_the_rest_told(program, path):
    trace(path, program, "restore", 5)
    (run,) = entries(path, Run)
    reason = KVM_RUN[0]
    assert (reason.name, int.from_bytes(run.got[REASON], "little")) == ("exit_reason", KvmExit.IO)
    assert [e.line.count for e in entries(path, Runs)] == [4]


def test_runs_without_stops_are_said_to_be_uncounted(program, path):
    trace(path, program, "restore", 1000)
    (runs,) = entries(path, Runs)
    assert runs.line.count is None
    assert runs.line.why


def test_eight_threads_lose_no_call_and_their_order_is_kept(program, path):
    ended = trace(path, program, "threads", 300)
    assert ended.returncode == 0, ended.stderr
    calls = [e for e in entries(path, Call) if e.target.kind is ObjectKind.VCPU]
    by_thread = {}
    for call in calls:
        by_thread.setdefault(call.line.tid, []).append((call.target.number, call.spec.name))
    names = ["KVM_GET_SREGS", "KVM_SET_SREGS", "KVM_SET_REGS"] * 2
    assert sorted(by_thread.values()) == [[(i, name) for name in names] for i in range(VCPUS)]
    assert len(entries(path, Run)) == VCPUS


def test_a_child_has_its_own_process(program, path):
    ended = trace(path, program, "fork")
    assert ended.stdout.startswith("XSTATE_BV")
    events = [(e.line.event, e.line.process) for e in entries(path, ProcessLine)]
    assert events[:2] == [(ProcessChange.START, 0), (ProcessChange.FORK, 1)]
    assert {e.line.process for e in entries(path, Call)} == {1}


def test_exec_by_a_thread_begins_a_process_and_is_recorded_on(program, path):
    ended = trace(path, program, "exec")
    assert ended.stdout.startswith("XSTATE_BV")
    (executed,) = (e.line for e in entries(path, ProcessLine) if e.line.event is ProcessChange.EXEC)
    assert (executed.process, executed.parent) == (1, 0)
    assert executed.program == str(program)


def test_a_program_that_dies_has_its_signal_as_status(program, path):
    ended = trace(path, program, "abort")
    assert ended.returncode == 128 + signal.SIGABRT
    (killed,) = (e.line for e in entries(path, ProcessLine) if e.line.status is not None)
    assert (killed.event, killed.status) == (ProcessChange.KILLED, signal.SIGABRT)


def test_a_call_that_never_returns_is_recorded_without_result(program, path):
    ended = trace(path, program, "hang")
    assert ended.returncode == 7
    (run,) = entries(path, Run)
    assert run.line.result is None


def test_a_32_bit_call_is_reported_and_made(program, path):
    ended = trace(path, program, "compat")
    # KVM_API_VERSION is 12.
    assert ended.stdout == "12\n"
    (unread,) = entries(path, Unread)
    assert "32-bit" in unread.line.what
    assert "missing" in ended.stderr


def test_without_kvm_the_recording_has_no_calls(path):
    ended = trace(path, "true")
    assert ended.returncode == 0
    assert entries(path, Call) == []


@pytest.fixture
def waiting(program, path, tmp_path):
    """A program that is being recorded and waits for the file ``go``; ended at the end."""
    go, result = tmp_path / "go", tmp_path / "result"
    words = [str(program), "wait", str(go), str(result)]
    with subprocess.Popen(
        [*COMMAND, "trace", "-o", str(path), "--", *words], stdout=subprocess.PIPE, text=True
    ) as front:
        pid = int(front.stdout.readline().split()[1])
        yield front, psutil.Process(pid), go, result
        go.touch()


def _tracer(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if "TracerPid" in line)


def _result_of(go, result):
    go.touch()
    return _wait(lambda: result.exists() and result.read_text())


def test_the_program_goes_on_if_kvmprobe_is_killed(waiting, path):
    front, _, go, result = waiting
    front.kill()
    front.wait()
    assert _result_of(go, result) == "0 failed\n"
    with pytest.raises(RecordingTruncated):
        entries(path, Call)


def test_the_program_goes_on_if_the_recorder_is_killed(waiting, path):
    front, process, go, result = waiting
    recorder = _tracer(process)
    os.kill(recorder, signal.SIGKILL)
    _wait(lambda: _tracer(process) not in {0, recorder})
    assert _result_of(go, result) == "0 failed\n"
    assert front.wait() == 0
    assert entries(path, End)[0].line.reason is EndReason.LOST


def test_nothing_is_left_after_the_program(waiting):
    front, process, go, result = waiting
    family = [*psutil.Process(front.pid).children(recursive=True), process]
    _result_of(go, result)
    assert front.wait() == 0
    assert [p.pid for p in family if p.is_running()] == []


def test_a_stopped_program_stays_stopped_until_it_is_continued(waiting):
    front, process, go, result = waiting
    process.suspend()
    _wait(lambda: process.status() in {psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP})
    go.touch()
    process.resume()
    assert _result_of(go, result) == "0 failed\n"
    assert front.wait() == 0


def test_sigterm_is_passed_to_the_program(waiting):
    front, process, _, _ = waiting
    front.send_signal(signal.SIGTERM)
    assert front.wait() == 128 + signal.SIGTERM
    assert not process.is_running()


def _is_attached(path):
    """Return True when no later call is missed: the line comes after all threads' interrupts."""
    return path.exists() and f'"{ProcessChange.ATTACH.value}"' in path.read_text()


def _attach(program, path, tmp_path):
    go, result = tmp_path / "go", tmp_path / "result"
    traced = subprocess.Popen([program, "wait", go, result], stdout=subprocess.PIPE, text=True)
    assert traced.stdout.readline().startswith("ready")
    front = subprocess.Popen([*COMMAND, "trace", "-o", path, "--pid", str(traced.pid)])
    _wait(lambda: _is_attached(path))
    return traced, front, go, result


def test_a_running_process_is_recorded_with_each_run_counted(program, path, tmp_path):
    traced, front, go, result = _attach(program, path, tmp_path)
    assert _result_of(go, result) == "0 failed\n"
    assert traced.wait() == 0
    assert front.wait() == 0
    assert len([e for e in entries(path, Call) if e.spec is ioctls.SET_REGS]) == 100
    assert len(entries(path, Run)) == 100
    # Ten runs after each call, one of them by itself; the last ones have no call after them.
    assert [e.line.count for e in entries(path, Runs)] == [9] * 99
    traced.stdout.close()


def test_interrupting_lets_go_of_the_process(program, path, tmp_path):
    traced, front, go, result = _attach(program, path, tmp_path)
    front.send_signal(signal.SIGINT)
    assert front.wait() == 0
    assert _tracer(psutil.Process(traced.pid)) == 0
    assert _result_of(go, result) == "0 failed\n"
    assert traced.wait() == 0
    assert entries(path, End)[0].line.reason is EndReason.DETACHED
    traced.stdout.close()


def test_killing_kvmprobe_lets_go_of_the_process(program, path, tmp_path):
    traced, front, go, result = _attach(program, path, tmp_path)
    front.kill()
    front.wait()
    _wait(lambda: _tracer(psutil.Process(traced.pid)) == 0)
    assert _result_of(go, result) == "0 failed\n"
    assert traced.wait() == 0
    traced.stdout.close()


def test_all_threads_of_a_running_process_are_recorded(program, path, tmp_path):
    go, words = tmp_path / "go", [program, "later", tmp_path / "go", "20"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as traced:
        assert traced.stdout.readline().startswith("ready")
        with subprocess.Popen([*COMMAND, "trace", "-o", path, "--pid", str(traced.pid)]) as front:
            _wait(lambda: _is_attached(path))
            go.touch()
            assert (traced.wait(), front.wait()) == (0, 0)
    runs = [e.line.count for e in entries(path, Runs)]
    assert (len(entries(path, Run)), runs) == (VCPUS, [19] * VCPUS)


REFUSED = [
    (["--", "no-such-program"], "no-such-program: no such program in PATH"),
    (["--", "/no/such"], "/no/such: no such program"),
    (["--", "/proc/version"], "/proc/version: not executable"),
    (["--", "/etc"], "/etc: a directory, not a program"),
    (["--pid", "4194303"], "--pid 4194303: there is no such process"),
    (["true"], "expected -- COMMAND, --pid PID, show FILE or schema"),
    ([], "expected -- COMMAND, --pid PID, show FILE or schema"),
    (["--pid", "1", "--", "true"], "expected -- COMMAND, --pid PID, show FILE or schema"),
    (["show", "/no/such"], "/no/such: No such file or directory"),
    (["show", "/proc/version"], "it does not begin with the schema kvmprobe-recording/1"),
    (["-o", "/no/such/file", "--", "true"], "/no/such/file: No such file or directory"),
]


@pytest.mark.parametrize(("words", "message"), REFUSED)
def test_wrong_usage_has_its_message(words, message, tmp_path):
    ended = kvmprobe("trace", *words, cwd=tmp_path)
    assert ended.returncode == ExitCode.USAGE
    assert message in ended.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_program_has_the_kernels_answer(path, tmp_path):
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    ended = trace(path, script)
    assert ended.returncode == ExitCode.USAGE
    assert f"cannot execute {script}: ENOENT (2)" in ended.stderr


def test_a_traced_process_is_refused(waiting, path):
    _, process, _, _ = waiting
    ended = kvmprobe("trace", "--pid", str(process.pid))
    assert ended.returncode == ExitCode.NOTHING_RAN
    assert "already traced, by recorder" in ended.stderr


def test_a_disk_that_is_full_at_the_start_starts_nothing(program):
    ended = trace(Path("/dev/full"), program, "restore", 1)
    assert ended.returncode == ExitCode.USAGE
    assert ended.stdout == ""
    assert "/dev/full: No space left on device" in ended.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take a capability away")
def test_a_process_of_another_user_needs_the_capability(tmp_path):
    without = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"]
    with subprocess.Popen(
        ["setpriv", "--reuid=65534", "--clear-groups", "sleep", "60"], stdout=subprocess.PIPE
    ) as other:
        ended = subprocess.run(
            [*without, *COMMAND, "trace", "-o", tmp_path / "x", "--pid", str(other.pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        other.kill()
    assert ended.returncode == ExitCode.NOTHING_RAN
    answer = f"ptrace(PTRACE_SEIZE) on process {other.pid} returned EPERM (1)"
    assert answer in ended.stderr
    assert "CAP_SYS_PTRACE" in ended.stderr


@pytest.fixture
def small_disk(tmp_path):
    """Room for the beginning of a recording, and not for 5000 calls."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], check=True)
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a tmpfs")
def test_a_disk_that_becomes_full_ends_the_recording_and_not_the_program(program, small_disk):
    path = small_disk / "vmm.jsonl"
    ended = trace(path, program, "calls", 5000)
    assert ended.returncode == ExitCode.USAGE
    assert ended.stdout == "0 failed\n"
    full = f"{path}: No space left on device: the recording ends there; the program went on"
    assert full in ended.stderr
    with pytest.raises(RecordingTruncated):
        entries(path, Call)
