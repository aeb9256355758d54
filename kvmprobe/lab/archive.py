"""Debian archives: listing their packages and fetching one, verified by its hash.

Works offline with what was fetched earlier.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.errors import DownloadFailed, KvmprobeError, UsageError, VerificationFailed
from kvmprobe.lab.apt_state import OLD_LIST_USED, UPDATED, AptState
from kvmprobe.lab.cache import DAMAGE
from kvmprobe.lab.download import Remote, check, download
from kvmprobe.lab.packages import Package, pool_uri, scan
from kvmprobe.lab.sources import Source, machine_sources
from kvmprobe.results.codec import from_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kvmprobe.lab.cache import Cache
    from kvmprobe.progress import Progress

_FRESH_SECONDS = 6 * 3600
_RETRY_SECONDS = 15 * 60
_CLOCK_SKEW = 60


class Refresh(Enum):
    """When to fetch the package lists again."""

    WHEN_OLD = "when-old"
    NOW = "now"
    NEVER = "never"


class Archives:
    """The archives that packages come from; nothing is fetched before it is needed."""

    def __init__(
        self,
        cache: Cache,
        sources: tuple[Source, ...] = (),
        refresh: Refresh = Refresh.WHEN_OLD,
    ) -> None:
        """Use ``sources``; if empty, the machine's apt configuration."""
        self.cache = cache
        self.notes: tuple[str, ...] = ()
        self._named = sources
        self._refresh = refresh
        self._opened: AptState | None = None

    def packages(self, prefixes: tuple[str, ...], progress: Progress) -> tuple[Package, ...]:
        """Return every listed package whose name begins with one of ``prefixes``.

        :raises DownloadFailed: no list can be fetched; VerificationFailed: none can be verified
        """
        state = self._state()
        with self.cache.locked("package lists", progress):
            self._renew(state, progress)
            name = hashlib.sha256("\n".join(prefixes).encode()).hexdigest()[:16]
            summary = state.root / f"packages-{name}.json"
            fresh = _is_newer(summary, state.root / UPDATED)
            if not fresh or (found := _summarised(summary)) is None:
                found = self._summarise(state, prefixes, summary)
            return found

    def renew_if_older(self, seconds: float, progress: Progress) -> bool:
        """Fetch the lists again if they are older than ``seconds``; return True if they were."""
        state = self._state()
        if self._refresh is Refresh.NEVER or _age(state.root / UPDATED) < seconds:
            return False
        self._refresh = Refresh.NOW
        with self.cache.locked("package lists", progress):
            self._renew(state, progress)
        return True

    def fetch(self, alternatives: Sequence[Package], progress: Progress) -> Path:
        """Return a package's .deb in the cache; fetch it if it is missing or damaged.

        :param alternatives: the same file (same hash) in one or more archives, best first
        :raises DownloadFailed: no archive serves it; VerificationFailed: the hash is wrong
        """
        remotes = tuple(
            Remote(package.uri, package.size, package.sha256) for package in alternatives
        )
        name = Path(alternatives[0].filename).name
        return self._fetched(self.cache.folder("debs") / name, remotes, progress)

    def fetch_source_tarball(
        self,
        pool_path: str,
        size: int,
        sha256: str,
        progress: Progress,
        *,
        local: Path | None = None,
    ) -> Path:
        """Return an upstream tarball of known ``size`` (bytes) and hash from any archive.

        :param pool_path: ``pool/main/b/bochs/bochs_3.0+dfsg.orig.tar.xz``
        :param local: the user's own copy, which is verified and used in place
        :raises DownloadFailed: no archive serves it; VerificationFailed: the hash is wrong
        """
        if local is not None:
            if not local.is_file():
                wanted = Path(pool_path).name
                raise UsageError(f"{local}: no such file; expected a copy of {wanted}")
            check(local, size, sha256)
            return local
        target = self.cache.folder("sources") / Path(pool_path).name
        if _is_intact(target, size, sha256):
            return target
        addresses = dict.fromkeys(source.uri for source in self._sources())
        remotes = tuple(Remote(pool_uri(uri, pool_path), size, sha256) for uri in addresses)
        return self._fetched(target, remotes, progress)

    def _fetched(self, target: Path, remotes: tuple[Remote, ...], progress: Progress) -> Path:
        with self.cache.locked(target.name, progress):
            if _is_intact(target, remotes[0].size, remotes[0].sha256):
                return target
            failures: list[KvmprobeError] = []
            for remote in remotes:
                # Try each address twice: a proxy or a bad connection may damage a copy.
                for _ in range(2):
                    progress.stage(f"download {target.name} ({remote.size / 1e6:.0f} MB)")
                    try:
                        return self._downloaded(remote, target, progress)
                    except VerificationFailed as error:
                        failures.append(error)
                    except DownloadFailed as error:
                        failures.append(error)
                        break
        is_forged = any(isinstance(failure, VerificationFailed) for failure in failures)
        kind = VerificationFailed if is_forged else DownloadFailed
        raise kind("\n".join(dict.fromkeys(str(failure) for failure in failures)))

    def _downloaded(self, remote: Remote, target: Path, progress: Progress) -> Path:
        with self.cache.scratch() as work:
            download(remote, work / target.name, progress)
            self.cache.publish(work / target.name, target)
        return target

    def _sources(self) -> tuple[Source, ...]:
        if not self._named:
            self._named = machine_sources()
        return self._named

    def _state(self) -> AptState:
        if self._opened is None:
            self._opened = AptState(self.cache, self._sources())
        return self._opened

    def _renew(self, state: AptState, progress: Progress) -> None:
        stamp = state.root / UPDATED
        age = _age(stamp)
        due = (
            age > _FRESH_SECONDS
            if self._refresh is Refresh.WHEN_OLD
            else self._refresh is Refresh.NOW
        )
        if self._refresh is Refresh.NEVER and not stamp.exists():
            raise DownloadFailed("no package lists in the cache, and fetching them is switched off")
        if not due:
            return
        self.notes = state.update(progress)
        for note in self.notes:
            progress.stage(f"archive: {note}")
        stamp.touch()
        if any(note.startswith(OLD_LIST_USED) for note in self.notes):
            # The archive was not reachable: try again soon.
            soon = time.time() - _FRESH_SECONDS + _RETRY_SECONDS
            os.utime(stamp, (soon, soon))
        if self._refresh is Refresh.NOW:
            self._refresh = Refresh.WHEN_OLD

    def _summarise(
        self, state: AptState, prefixes: tuple[str, ...], summary: Path
    ) -> tuple[Package, ...]:
        found = tuple(
            package
            for index in state.indices()
            for package in scan(state.read(index), prefixes, index.suite, index.uri)
        )
        with self.cache.scratch() as work:
            text = json.dumps([asdict(package) for package in found])
            (work / summary.name).write_text(text, encoding="utf-8")
            self.cache.publish(work / summary.name, summary)
        return found


def _summarised(summary: Path) -> tuple[Package, ...] | None:
    """Return the packages in a summary; None if it is damaged."""
    try:
        return tuple(from_json(tuple[Package, ...], json.loads(summary.read_bytes())))
    except DAMAGE:
        return None


def _is_intact(path: Path, size: int, sha256: str) -> bool:
    try:
        check(path, size, sha256)
    except (FileNotFoundError, VerificationFailed):
        return False
    return True


def _age(path: Path) -> float:
    """Return a file's age in seconds; infinity if it is not there, or of a time to come.

    The clock was wrong then, and nobody knows for how long.
    """
    try:
        age = time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
    return age if age > -_CLOCK_SKEW else float("inf")


def _is_newer(path: Path, other: Path) -> bool:
    return path.exists() and path.stat().st_mtime_ns >= other.stat().st_mtime_ns
