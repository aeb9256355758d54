"""A matrix: the same scenarios on several kernels, each a run in a directory below one directory.

``matrix.json`` in that directory says which kernels, with which arguments, and why a kernel was
refused; everything else is in the runs.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kvmprobe.errors import RunDirectoryError, ScenarioError, UsageError
from kvmprobe.results.codec import from_json, to_json
from kvmprobe.results.durable import write_file
from kvmprobe.results.run_directory import is_run_directory
from kvmprobe.results.schema import refusal

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PLAN = "matrix.json"
_SCHEMA = "kvmprobe-matrix/1"
_NOT_A_NAME = re.compile(r"[^\w.+-]+")


@dataclass(frozen=True, slots=True)
class MatrixKernel:
    """One kernel of a matrix.

    :ivar spec: as in ``run --kernel``
    :ivar folder: name of its run's directory
    :ivar refused: why it has no run, or an incomplete one; empty if it has not been refused
    """

    spec: str
    folder: str
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Matrix:
    """What a matrix runs.

    :ivar argv: the command's arguments
    :ivar directory: the working directory, for relative paths in them
    """

    argv: tuple[str, ...]
    directory: str
    kernels: tuple[MatrixKernel, ...]

    @classmethod
    def of(cls, argv: Sequence[str], directory: str, specs: Sequence[str]) -> Matrix:
        """Return the matrix of these kernels, none of them refused."""
        folders: dict[str, str] = {}
        for spec in specs:
            name = _NOT_A_NAME.sub("_", spec).strip("._") or "kernel"
            taken = sum(known == name or known.startswith(f"{name}~") for known in folders.values())
            folders[spec] = f"{name}~{taken}" if taken else name
        return cls(tuple(argv), directory, tuple(MatrixKernel(*pair) for pair in folders.items()))

    def refusing(self, spec: str, reason: str) -> Matrix:
        """Return it with the reason why a kernel was refused; empty if it was not."""
        kernels = (replace(k, refused=reason) if k.spec == spec else k for k in self.kernels)
        return replace(self, kernels=tuple(kernels))

    def write(self, path: Path) -> None:
        """Write it to the matrix's directory.

        :raises RunDirectoryError: it cannot be written
        """
        data = {"schema": _SCHEMA, "matrix": to_json(Matrix, self)}
        try:
            write_file(path / PLAN, json.dumps(data, indent=1))
        except OSError as error:
            raise RunDirectoryError(f"{path / PLAN}: {error.strerror}") from error


def is_matrix(path: Path) -> bool:
    """Return True if the path is the directory of a matrix."""
    return os.path.isfile(path / PLAN)  # noqa: PTH113 - Path.is_file raises PermissionError


def read_matrix(path: Path) -> Matrix:
    """Read the plan of a matrix.

    :raises UsageError: it cannot be read, or is not one
    """
    try:
        data = json.loads((path / PLAN).read_bytes())
        if data["schema"] != _SCHEMA:
            raise UsageError(f"{path / PLAN}: {refusal(data['schema'], _SCHEMA)}")
        found = from_json(Matrix, data["matrix"])
        for kernel in found.kernels:
            if _NOT_A_NAME.search(kernel.folder.replace("~", "")) or set(kernel.folder) <= {"."}:
                raise ScenarioError(f"{kernel.folder!r:.80} is not the name of a directory in it")
    except OSError as error:
        raise UsageError(f"{path / PLAN}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{path / PLAN}: not the plan of a matrix: {error}") from error
    return found


def runs_in(path: Path) -> list[Path]:
    """Return the directories of the runs of a matrix that have begun; any other path is itself.

    :raises UsageError: there is none, or the plan cannot be read
    """
    if not is_matrix(path):
        return [path]
    folders = (path / kernel.folder for kernel in read_matrix(path).kernels)
    begun = [folder for folder in folders if is_run_directory(folder)]
    if not begun:
        raise UsageError(f"{path}: no kernel of this matrix has a run")
    return begun
