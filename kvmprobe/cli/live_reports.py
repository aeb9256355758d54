"""``kvmprobe run --report FORMAT=FILE``: reports that are written during the run."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from kvmprobe.errors import ReportFileError, UsageError
from kvmprobe.reports.formats import format_of, names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmprobe.results.record import ScenarioRecord
    from kvmprobe.results.run_document import Ending, RunDocument


@dataclass(frozen=True, slots=True)
class ReportFile:
    """One ``--report``."""

    format: str
    path: Path

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``FORMAT=FILE``, for argparse."""
        name, separator, path = text.partition("=")
        if not separator or not path or name not in names():
            raise argparse.ArgumentTypeError(
                f"{text!r}: expected FORMAT=FILE; formats: {', '.join(names())}"
            )
        return cls(name, Path(path))


class LiveReports:
    """All reports of one run."""

    def __init__(
        self, wanted: Sequence[ReportFile], begun: RunDocument, planned: Sequence[str]
    ) -> None:
        """Start them.

        :param begun: the run without its records
        :param planned: ids of all scenarios that should be recorded
        :raises UsageError: a file cannot be written
        """
        self._files = [_File(report.path) for report in wanted]
        self._reports = [
            format_of(report.format).live(file.write, begun, planned)
            for report, file in zip(wanted, self._files, strict=True)
        ]

    def add(self, record: ScenarioRecord) -> None:
        """Add a scenario's record to each.

        :raises ReportFileError: the file cannot be written
        """
        for report in self._reports:
            report.add(record)

    def finish(self, ending: Ending) -> None:
        """End each, and close its file.

        :raises ReportFileError: the file cannot be written
        """
        for report, file in zip(self._reports, self._files, strict=True):
            report.finish(ending)
            file.close()


class _File:
    """An unbuffered file, which keeps everything if this process is killed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise UsageError(f"--report {path}: {error.strerror}") from error

    def write(self, text: str) -> None:
        content = f"{text}\n".encode("utf-8", "backslashreplace")
        try:
            while content:
                content = content[os.write(self._fd, content) :]
        except OSError as error:
            raise ReportFileError(f"--report {self._path}: {error.strerror}") from error

    def close(self) -> None:
        os.close(self._fd)
