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
from kvmprobe.tracer.passing import Receiver, passing
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
        """Start it.

        :param subject: the command or process, for messages
        :param words: ``start`` and the command, or ``attach`` and a process id
        :raises StaleBuild: it was built from other sources than those in use
        :raises WorkerError: it is missing or cannot be executed
        """
        check(RECORDER)
        self._subject = subject
        self._attaches = words[0] == "attach"
        self._events, written = os.pipe()
        with contextlib.suppress(OSError):
            # More than pipe-user-pages-soft may be refused; then the pipe is small.
            fcntl.fcntl(written, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        os.set_inheritable(written, True)  # noqa: FBT003
        numbers = (written, sizes.default, sizes.permitted)
        try:
            # The command has the descriptors that this process was started with.
            self._process = subprocess.Popen(
                [RECORDER, *map(str, numbers), rules.as_text(), *words], close_fds=False
            )
        except OSError as error:
            raise WorkerError(f"cannot execute {RECORDER}: {error.strerror}") from error
        finally:
            os.close(written)

    def record(self, transcription: Transcription, path: Path, files: HostFiles) -> int:
        """Write events until the program has ended or was let go of; returns its exit status.

        SIGINT and SIGTERM are passed on to a command that was started; they end the recording of
        a process that was attached to.

        :param path: of the recording, for messages
        :raises KvmprobeError: the program cannot be recorded; nothing was written
        :raises ReportFileError: the recording cannot be written; the program has gone on
        """
        # The traced program needs the processors more.
        os.nice(_NICE)
        with passing(Receiver(recorder=self._process.pid if self._attaches else 0)) as receiver:
            try:
                self._write(transcription, files, receiver)
            except OSError as error:
                os.close(self._events)
                self._process.wait()
                raise ReportFileError(
                    f"{path}: {error.strerror}: the recording ends there; the program went on"
                ) from error
            os.close(self._events)
            status = self._process.wait()
        if transcription.status is None:
            transcription.cut(_KILLED)
        return status if transcription.status is None else transcription.status

    def _write(self, transcription: Transcription, files: HostFiles, receiver: Receiver) -> None:
        for event in read_events(self._events):
            if event.kind is TraceEvent.TRACE_FAILED:
                os.close(self._events)
                self._process.wait()
                step = TraceFailure(event.number)
                raise failure(step, event.argument, self._subject, files)
            if event.kind is TraceEvent.TRACE_STARTED:
                receiver.command = event.pid
            transcription.add(event)
