"""Real kernels on the emulated host: programs, their output and status, panics, a worker."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path

import pytest

from kvmprobe.lab import boot_image, emulator, initramfs, kernel_image, kernels
from kvmprobe.lab.archive import Archives
from kvmprobe.lab.cache import Cache
from kvmprobe.lab.emulator_process import Boot
from kvmprobe.lab.machine import Machine
from kvmprobe.lab.machine_events import (
    ChannelLine,
    ConsolePanic,
    Ended,
    EndReason,
    ModuleLoaded,
    Phase,
    ProgramExited,
    ProgramKilled,
)
from kvmprobe.lab.program import GuestFile, Program, Sinks, run_program
from kvmprobe.progress import Silent

pytestmark = pytest.mark.lab

SILENCE = 120.0

# The oldest and the newest way that kernels are packed and booted.
KERNELS = ("6.1", "7.3")

SOURCES = {
    "statuses": r"""
        #include <signal.h>
        #include <stdlib.h>
        #include <unistd.h>
        int main(int count, char **words)
        {
            if (count > 2)
                kill(getpid(), atoi(words[2]));
            return atoi(words[1]);
        }""",
    "streams": r"""
        #include <string.h>
        #include <unistd.h>
        int main(void)
        {
            static char big[200000];
            memset(big, 'x', sizeof big);
            for (int i = 0; i < 3; i++) {
                write(1, "out\n", 4);
                write(2, "err\n", 4);
            }
            write(1, big, sizeof big);
            return 0;
        }""",
    "crash": r"""
        #include <fcntl.h>
        #include <unistd.h>
        int main(void)
        {
            int trigger = open("/proc/sysrq-trigger", O_WRONLY);
            write(1, "last words", 10);
            write(trigger, "c", 1);
            return 0;
        }""",
    "kvm": r"""
        #include <fcntl.h>
        #include <linux/kvm.h>
        #include <stdio.h>
        #include <sys/ioctl.h>
        int main(void)
        {
            int kvm = open("/dev/kvm", O_RDWR);
            printf("%d\n", ioctl(kvm, KVM_GET_API_VERSION, 0));
            return ioctl(kvm, KVM_CREATE_VM, 0) < 0;
        }""",
    # Echoes lines over the channel's ports, which it may use because init may.
    "worker": r"""
        #include <fcntl.h>
        #include <stdio.h>
        #include <string.h>
        #include <sys/io.h>
        #include <unistd.h>
        static void say(const char *text)
        {
            while (*text)
                outb(*text++, 0x5e0);
        }
        int main(void)
        {
            static char line[100000];
            say("{\"ready\":1}\n");
            for (;;) {
                char *end = line;
                while ((*end = inb(0x5e0)) && *end != '\n')
                    end++;
                if (!*end)
                    return 9;
                end[1] = 0;
                if (!strcmp(line, "crash\n"))
                    write(open("/proc/sysrq-trigger", O_WRONLY), "c", 1);
                if (!strcmp(line, "end\n"))
                    return puts("on the console") < 0;
                say(line);
            }
        }""",
}


@pytest.fixture(scope="module")
def archives():
    return Archives(Cache.from_environment())


@pytest.fixture(scope="module")
def built(archives):
    return emulator.ensure(archives, Silent())


@pytest.fixture(scope="module", params=KERNELS)
def kernel(request, archives):
    return kernels.resolve(request.param, modules_dir=None, archives=archives, progress=Silent())


@pytest.fixture(scope="module")
def programs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs")
    for name, source in SOURCES.items():
        (folder / f"{name}.c").write_text(source, encoding="utf-8")
        compile_ = ["gcc", "-static", "-o", folder / name, folder / f"{name}.c"]
        subprocess.run([*compile_, "-Wno-unused-result"], check=True)
    return folder


@pytest.fixture
def run(built, kernel):
    def run(*command, files=()):
        sinks = Sinks(io.BytesIO(), io.BytesIO())
        program = Program(tuple(map(str, command)), files)
        status = run_program(kernel, built, program, sinks, Silent(), SILENCE)
        return status, sinks.stdout.getvalue(), sinks.stderr.getvalue()

    return run


@pytest.fixture
def worker(built, kernel, programs):
    files = initramfs.FileTree()
    files.add(programs / "worker")
    payload = initramfs.Payload(files, (str(programs / "worker"),), initramfs.Mode.WORKER)
    packed = initramfs.build(payload, kernel.modules, built.init.read_bytes())
    image = boot_image.build(kernel_image.read(kernel.vmlinuz), packed, boot_image.MEMORY_MIB)
    with Machine.boot(built, Boot(image)) as machine:
        yield machine


def next_line(machine):
    return next(event.text for event in machine.events(SILENCE) if isinstance(event, ChannelLine))


def test_the_exit_status_is_the_programs(run, programs):
    assert run(programs / "statuses", "7") == (7, b"", b"")


def test_a_signal_is_a_shells_status(run, programs):
    assert run(programs / "statuses", "0", "6")[0] == 128 + 6


def test_a_dynamic_program_runs_with_its_libraries(run):
    status, out, err = run("ls", "-d", "/proc/self", "/dev/kvm", "/sys/kernel/debug/kvm")
    assert (status, err) == (0, b"")
    assert out.split() == [b"/dev/kvm", b"/proc/self", b"/sys/kernel/debug/kvm"]


def test_a_script_runs_with_its_files(run, tmp_path):
    script = tmp_path / "script"
    script.write_text("#!/usr/bin/env sh\nread line < /opt/data/file\necho $line $PWD $#\nexit 3\n")
    script.chmod(0o755)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_text("content\n")
    files = (GuestFile(tmp_path / "data", "/opt/data"),)
    assert run(script, "a", "b c", files=files) == (3, b"content / 2\n", b"")


def test_all_output_arrives_on_its_own_stream(run, programs):
    status, out, err = run(programs / "streams")
    assert (status, err) == (0, b"err\n" * 3)
    assert out == b"out\n" * 3 + b"x" * 200000


def test_a_program_can_use_kvm(run, programs):
    assert run(programs / "kvm") == (0, b"12\n", b"")


def test_a_panic_is_255_after_the_last_words_and_with_the_report(run, programs):
    status, out, err = run(programs / "crash")
    assert (status, out) == (255, b"last words")
    assert b"Kernel panic - not syncing: sysrq triggered crash" in err
    assert b"sysrq_handle_crash" in err


def test_a_program_that_cannot_run_is_127_or_126_as_in_a_shell(run, tmp_path):
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\nno-such-command\n")
    script.chmod(0o755)
    assert run(script)[0] == 127


def test_a_worker_talks_over_the_channel(worker):
    told = []
    for event in worker.events(SILENCE):
        if isinstance(event, ChannelLine):
            assert json.loads(event.text) == {"ready": 1}
            break
        told.append(event)
    phases = [event.phase.value for event in told if isinstance(event, Phase)]
    assert phases == ["init", "modules", "start"]
    assert {type(event) for event in told} == {Phase, ModuleLoaded}
    for line in ("one", "x" * 50000, "two"):
        worker.send(line)
        assert next_line(worker) == line
    assert worker.memory_bytes() < 1 << 30
    worker.send("end")
    assert list(worker.events(SILENCE)) == [ProgramExited(0), Ended(EndReason.FINISHED)]
    assert "on the console" in worker.console_text


def test_a_panic_under_a_worker_is_told_with_its_report(worker):
    assert next_line(worker) == '{"ready":1}'
    worker.send("crash")
    panic, end = worker.events(SILENCE)
    assert isinstance(panic, ConsolePanic)
    assert panic.report.function == "sysrq_handle_crash"
    assert end == Ended(EndReason.PANIC)


def test_a_killed_worker_is_told_by_its_signal(built, kernel, programs):
    files = initramfs.FileTree()
    files.add(programs / "statuses")
    command = (str(programs / "statuses"), "0", "9")
    payload = initramfs.Payload(files, command, initramfs.Mode.WORKER)
    packed = initramfs.build(payload, kernel.modules, built.init.read_bytes())
    image = boot_image.build(kernel_image.read(kernel.vmlinuz), packed, boot_image.MEMORY_MIB)
    with Machine.boot(built, Boot(image)) as machine:
        events = list(machine.events(SILENCE))
    assert events[-2:] == [ProgramKilled(9), Ended(EndReason.FINISHED)]


def test_a_kernel_without_kvm_is_told_before_the_worker_starts(built, kernel, programs, tmp_path):
    broken = tmp_path / "kvm.ko"
    broken.write_bytes(b"no module")
    files = initramfs.FileTree()
    files.add(programs / "worker")
    payload = initramfs.Payload(files, (str(programs / "worker"),), initramfs.Mode.WORKER)
    packed = initramfs.build(payload, (broken,), built.init.read_bytes())
    image = boot_image.build(kernel_image.read(kernel.vmlinuz), packed, boot_image.MEMORY_MIB)
    with Machine.boot(built, Boot(image)) as machine:
        missing, end = (e for e in machine.events(SILENCE) if not isinstance(e, Phase))
    assert missing.text == "kvm.ko: Exec format error"
    assert end == Ended(EndReason.FINISHED)


def test_the_kernel_under_test_starts_untroubled(run):
    """Only "CPU out of spec" (4) may taint it: the emulator has no microcode, says kernel 7."""
    script = Path("/bin/cat")
    status, out, _ = run(script, "/proc/sys/kernel/tainted")
    assert (status, int(out) & ~4) == (0, 0)
