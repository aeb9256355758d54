"""Fetching one file from one address, verified by its SHA-256.

apt's helper transfers the file if it is installed, so that the proxies and credentials of the
machine's apt configuration apply; otherwise Python's urllib does.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.errors import DownloadFailed, NoSpace, VerificationFailed
from kvmprobe.lab.cache import ELSEWHERE, disk_full_as_no_space, require_space

if TYPE_CHECKING:
    from kvmprobe.progress import Progress

APT_HELPER = Path("/usr/lib/apt/apt-helper")
_APT_OPTIONS = (
    "-oAcquire::Retries=2",
    "-oAcquire::http::Timeout=30",
    "-oAcquire::https::Timeout=30",
    # By default apt transfers files as a user that may not write to the cache.
    "-oAPT::Sandbox::User=root",
)
_POLL_SECONDS = 0.2
_CHUNK = 1 << 20
DISK_FULL = re.compile(r"No space left|Disk quota exceeded", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Remote:
    """A file to fetch; ``size`` in bytes."""

    uri: str
    size: int
    sha256: str


def sha256_of(path: Path) -> str:
    """Return the file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check(path: Path, size: int, sha256: str) -> None:
    """Verify a file; ``size`` in bytes.

    :raises VerificationFailed: its size or hash is wrong
    """
    found = path.stat().st_size
    if found != size:
        raise VerificationFailed(
            f"{path}: has {found} bytes instead of {size}: truncated, or another file"
        )
    digest = sha256_of(path)
    if digest != sha256.lower():
        raise VerificationFailed(f"{path}: SHA-256 is {digest} instead of {sha256}")


def download(remote: Remote, target: Path, progress: Progress) -> None:
    """Fetch ``remote`` to ``target``, which must not exist, and verify it.

    :raises DownloadFailed: the server is unreachable or does not have the file
    :raises VerificationFailed: the server sent something else
    :raises NoSpace: the file system is full
    """
    require_space(target.parent, remote.size, f"downloading {target.name}")
    with disk_full_as_no_space(target, target.name):
        if APT_HELPER.exists():
            _by_apt(remote, target, progress)
        else:
            _by_urllib(remote, target, progress)
    check(target, remote.size, remote.sha256)


def _by_apt(remote: Remote, target: Path, progress: Progress) -> None:
    # apt's file: method only makes a link; copy: copies.  No hash is passed, since apt 3 reports a
    # mismatch as "Undetermined Error"; `download` verifies the file.
    uri = re.sub(r"^file:(?://)?", "copy:", remote.uri)
    command: list[str | Path] = [
        APT_HELPER,
        "-qq",
        *_APT_OPTIONS,
        "download-file",
        uri,
        target,
    ]
    environment = {**os.environ, "LC_ALL": "C"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, text=True
    ) as process:
        try:
            output = _wait(process, target, remote.size, progress)
        except BaseException:
            process.terminate()
            raise
    if process.returncode != 0:
        raise _failure(remote.uri, output)
    progress.advance(remote.size, remote.size)


def _wait(process: subprocess.Popen[str], target: Path, size: int, progress: Progress) -> str:
    while True:
        try:
            return process.communicate(timeout=_POLL_SECONDS)[0]
        except subprocess.TimeoutExpired:
            progress.advance(_size(target), size)


def _failure(uri: str, output: str) -> Exception:
    if DISK_FULL.search(output):
        return NoSpace(f"the file system filled up while downloading {uri}: {ELSEWHERE}")
    found = re.search(r"^E: Failed to fetch \S+\s+(.*)$", output, re.MULTILINE)
    reason = (
        found[1] if found else (output.strip().splitlines() or ["apt-helper printed no reason"])[-1]
    )
    return DownloadFailed(f"{uri}: {reason}")


def _by_urllib(remote: Remote, target: Path, progress: Progress) -> None:
    if not remote.uri.startswith(("http://", "https://", "file:")):
        raise DownloadFailed(
            f"{remote.uri}: without apt, only http, https and file addresses can be used"
        )
    done = 0
    try:
        with urllib.request.urlopen(remote.uri, timeout=30) as answer, target.open("xb") as file:  # noqa: S310
            while chunk := answer.read(_CHUNK):
                file.write(chunk)
                done += len(chunk)
                progress.advance(done, remote.size)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise DownloadFailed(f"{remote.uri}: {error}") from error


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
