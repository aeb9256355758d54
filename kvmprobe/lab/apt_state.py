"""A private apt state in the cache: its own sources, lists and configuration; no root needed.

apt verifies the package lists with the distribution's keyring.  The machine's own apt state is not
changed.
"""

from __future__ import annotations

import glob
import hashlib
import os
import re
import subprocess
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kvmprobe.errors import DownloadFailed, MissingTools, NoSpace, VerificationFailed
from kvmprobe.lab.cache import ELSEWHERE, Cache, require_space
from kvmprobe.lab.download import DISK_FULL
from kvmprobe.lab.sources import rows_of

if TYPE_CHECKING:
    from pathlib import Path

    from kvmprobe.lab.sources import Row, Source
    from kvmprobe.progress import Progress

INDEX_BYTES = (
    250_000_000  # the lists of all Debian suites, twice: apt keeps the old ones during an update
)
UPDATED = "updated"
"""Name of the file whose time is that of the last update."""
OLD_LIST_USED = "using the list fetched earlier"
_CONFIGURATION = """\
Dir::State "{root}/state";
Dir::State::lists "{root}/lists";
Dir::State::status "{root}/status";
Dir::Cache "{root}/cache";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "{root}/sources.list.d";
APT::Architecture "amd64";
#clear APT::Architectures;
APT::Architectures {{ "amd64"; }};
APT::Sandbox::User "root";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Acquire::GzipIndexes "true";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::Retries "1";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
"""
_TAMPERED = re.compile(r"BADSIG|signatures? (?:was|were) invalid|isn't valid|NOSPLIT|manipulated")
_UNVERIFIED = re.compile(
    r"GPG error|OpenPGP|/sqv|NO_PUBKEY|EXPKEYSIG|is not signed|couldn't be verified"
    r"|Hash Sum mismatch|unexpected size"
)
_FETCHED = re.compile(r"^(?:Get|Hit|Ign|Err):\d+ ")


@dataclass(frozen=True, slots=True)
class Index:
    """One downloaded and verified Packages file."""

    path: Path
    uri: str
    suite: str


class AptState:
    """The private apt state for one set of sources."""

    def __init__(self, cache: Cache, sources: tuple[Source, ...]) -> None:
        """Name the state; nothing is read or written."""
        self.sources = sources
        self._stanzas = "\n".join(source.as_deb822() for source in sources)
        key = hashlib.sha256(self._stanzas.encode()).hexdigest()[:16]
        self.root = cache.root / "apt" / key
        self._cache = cache
        self._rows: tuple[Row, ...] | None = None

    def update(self, progress: Progress) -> tuple[str, ...]:
        """Fetch and verify the indices; return a note for each suite that failed.

        :raises VerificationFailed: a signature is bad, or no index at all could be verified
        :raises DownloadFailed: no index at all could be fetched now or earlier
        """
        self._prepare()
        progress.stage(f"archive: fetch the package lists of {len(self._wanted())} suites")
        output = self._run_update(progress)
        self._rows = None
        have = {(index.uri, index.suite) for index in self.indices()}
        kept: dict[str, list[str]] = defaultdict(list)
        lost: dict[str, list[str]] = defaultdict(list)
        for uri, suite in self._wanted():
            reason = failure_of(suite, output)
            if _TAMPERED.search(reason):
                raise VerificationFailed(f"{uri} {suite}: {reason}")
            if (uri, suite) not in have:
                lost[f"{reason or 'apt gave no reason'}: {uri}"].append(suite)
            elif reason:
                kept[f"{OLD_LIST_USED}: {reason}: {uri}"].append(suite)
        if not have:
            raise _no_list(_grouped(lost), output)
        return (*_grouped(kept), *(f"not used: {failure}" for failure in _grouped(lost)))

    def indices(self) -> tuple[Index, ...]:
        """Return the Packages files that have been fetched."""
        if self._rows is None:
            self._rows = rows_of(self._run("update", "--print-uris"))
        return tuple(
            Index(path, row.uri, row.suite)
            for row in self._rows
            if row.is_packages
            for path in sorted((self.root / "lists").glob(f"{glob.escape(row.name)}*"))
        )

    def read(self, index: Index) -> bytes:
        """Return an index's text, uncompressed.

        :raises VerificationFailed: it is damaged; it is removed, so that it is fetched again
        """
        helper = "/usr/lib/apt/apt-helper"
        ended = subprocess.run([helper, "cat-file", index.path], capture_output=True, check=False)
        if ended.returncode != 0:
            index.path.unlink(missing_ok=True)
            (self.root / UPDATED).unlink(missing_ok=True)
            said = ended.stderr.decode(errors="replace").strip()
            raise VerificationFailed(
                f"{index.path}: damaged, and removed: {said}; run the command again to fetch it"
            )
        return ended.stdout

    def _wanted(self) -> tuple[tuple[str, str], ...]:
        return tuple((source.uri, suite) for source in self.sources for suite in source.suites)

    def _prepare(self) -> None:
        require_space(self.root, INDEX_BYTES, "fetching the package lists")
        for part in ("state", "lists/partial", "cache/archives/partial", "sources.list.d"):
            self._cache.folder("apt", self.root.name, part)
        (self.root / "status").touch()
        (self.root / "apt.conf").write_text(_CONFIGURATION.format(root=self.root), encoding="utf-8")
        (self.root / "sources.list.d" / "kvmprobe.sources").write_text(
            self._stanzas, encoding="utf-8"
        )

    def _run_update(self, progress: Progress) -> str:
        lines: list[str] = []
        total = 2 * len(self._wanted())
        with self._started("-opkgCacheFile::Generate=false", "update") as process:
            try:
                for line in process.stdout or ():
                    lines.append(line)
                    progress.advance(
                        min(sum(1 for row in lines if _FETCHED.match(row)), total), total
                    )
            except BaseException:
                process.terminate()
                raise
        return "".join(lines)

    def _run(self, *arguments: str) -> str:
        with self._started(*arguments) as process:
            return process.communicate()[0]

    def _started(self, *arguments: str) -> subprocess.Popen[str]:
        # -c is read last and overrides the machine's configuration; its proxies still apply.
        command = ["apt-get", "-c", str(self.root / "apt.conf"), *arguments]
        try:
            return subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                env={**os.environ, "LC_ALL": "C"},
            )  # fmt: skip
        except FileNotFoundError as error:
            raise MissingTools(
                ("apt",), "a packaged kernel (--kernel takes files as well)"
            ) from error


def failure_of(suite: str, output: str) -> str:
    """Return why ``apt-get update`` failed for ``suite``, from its output; empty if it did not."""
    mine = re.compile(rf"(?:\s|/dists/){re.escape(suite)}(?:\s|/|$)")
    lines = output.splitlines()
    reasons, remarks = [], []
    for number, line in enumerate(lines):
        if not mine.search(line):
            continue
        if line.startswith("Err:") and number + 1 < len(lines):
            reasons.append(lines[number + 1].strip())
        elif line.startswith(("W: ", "E: ")):
            remarks.append(line[3:])
    return "; ".join(dict.fromkeys(reasons or remarks))


def _grouped(suites: dict[str, list[str]]) -> tuple[str, ...]:
    return tuple(f"{reason} {', '.join(names)}" for reason, names in suites.items())


def _no_list(failed: tuple[str, ...], output: str) -> Exception:
    text = "\n  ".join(failed)
    if DISK_FULL.search(output):
        return NoSpace(f"the file system filled up while fetching package lists: {ELSEWHERE}")
    if _UNVERIFIED.search(text):
        return VerificationFailed(f"no package list could be verified:\n  {text}")
    return DownloadFailed(
        f"no package list could be fetched:\n  {text}\n"
        "check the network, or give another archive with --archive 'URI SUITE[,SUITE...]'"
    )
