"""Starts the recorder, and writes what it reports until it ends.

The recorder is a process of its own: it outlives this one, so that the traced program goes on if
kvmprobe is killed (``kvmprobe/native/tracing/recorder.c``).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.abi.recorder import TraceEvent, TraceFailure
from kvmprobe.build_inputs import check
from kvmprobe.errors import ReportFileError, WorkerError
from kvmprobe.native import RECORDER
from kvmprobe.tracer import rules
from kvmprobe.tracer.events import read_events
from kvmprobe.tracer.passing import ENDING, TO_COMMAND, Receiver, passing
from kvmprobe.tracer.refusals import failure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from kvmprobe.host.files import HostFiles
    from kvmprobe.tracer.transcription import Transcription

_PIPE_BYTES = 1 << 20
_NICE = 5
_KILLED = "the recorder was killed"


@dataclass(frozen=True, slots=True)
class ImageSizes:
    """Bytes of an XSAVE image: without guest permissions, and with all that can be had."""

    default: int
    permitted: int


class Recorder:
    """A recorder for one command or process."""

    def __init__(self, subject: str, words: Sequence[str], sizes: ImageSizes) -> None:
        """Prepare it.

        :param subject: the command or process, for messages
        :param words: ``start`` and the command, or ``attach`` and a process id
        :raises StaleBuild: it was built from other sources than those in use
        """
        check(RECORDER)
        self._subject = subject
        self._words = words
        self._sizes = sizes
        self._attaches = words[0] == "attach"

    def record(self, transcription: Transcription, path: Path, files: HostFiles) -> int:
        """Write events until the program has ended or was let go of; returns its exit status.

        SIGTERM is passed on to a command that was started; any signal that would end kvmprobe ends
        the recording of a process that was attached to.

        :param path: of the recording, for messages
        :raises WorkerError: the recorder is missing or cannot be executed
        :raises KvmprobeError: the program cannot be recorded; nothing was written
        :raises ReportFileError: the recording cannot be written; the program has gone on
        """
        receiver = Receiver(ENDING if self._attaches else TO_COMMAND)
        with passing(receiver):
            process, events = self._started()
            # The traced program needs the processors more.
            os.nice(_NICE)
            try:
                self._write(events, process.pid, receiver, transcription, files)
            except OSError as error:
                raise ReportFileError(
                    f"{path}: {error.strerror}: the recording ends there; the program went on"
                ) from error
            finally:
                # The recorder then lets all calls pass.
                os.close(events)
                status = process.wait()
        if transcription.status is None:
            transcription.cut(_KILLED)
        return status if transcription.status is None else transcription.status

    def _started(self) -> tuple[subprocess.Popen[bytes], int]:
        """Start the recorder; returns also the pipe of its events."""
        events, written = os.pipe()
        with contextlib.suppress(OSError):
            # More than pipe-user-pages-soft may be refused; then the pipe is small.
            fcntl.fcntl(written, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        os.set_inheritable(written, True)  # noqa: FBT003
        numbers = (written, self._sizes.default, self._sizes.permitted)
        words = [*map(str, numbers), rules.as_text(), *self._words]
        try:
            # The command has the descriptors that this process was started with.
            return subprocess.Popen([RECORDER, *words], close_fds=False), events
        except OSError as error:
            os.close(events)
            raise WorkerError(f"cannot execute {RECORDER}: {error.strerror}") from error
        finally:
            os.close(written)

    def _write(
        self,
        events: int,
        recorder: int,
        receiver: Receiver,
        transcription: Transcription,
        files: HostFiles,
    ) -> None:
        for event in read_events(events):
            if event.kind is TraceEvent.TRACE_FAILED:
                step = TraceFailure(event.number)
                raise failure(step, event.argument, self._subject, files)
            if event.kind is TraceEvent.TRACE_STARTED:
                receiver.begin(event.pid)
            if event.kind is TraceEvent.TRACE_ATTACHED:
                receiver.begin(recorder)
            transcription.add(event)
