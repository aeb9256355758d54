"""Which Debian archives to ask: those of the machine's own apt configuration, or the user's.

No host name is written here.  Layer: lab; knows nothing of indices, packages or the cache.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from kvmprobe.errors import DownloadFailed, MissingTools, UsageError

_SERIES = ("bookworm", "trixie")
DEBIAN_SUITES = (
    *(f"{series}{pocket}" for series in _SERIES for pocket in ("", "-updates", "-backports")),
    "forky",
    "sid",
)
SECURITY_SUITES = tuple(f"{series}-security" for series in _SERIES)
_KEYRINGS = tuple(
    Path("/usr/share/keyrings") / f"{distribution}-archive-keyring.{ending}"
    for distribution in ("debian", "ubuntu")
    for ending in ("gpg", "pgp")
)
_APT_LISTS, _APT_ETC = Path("/var/lib/apt/lists"), Path("/etc/apt")
_ROW = re.compile(
    r"^'([^']+/)dists/([^']+?)/(InRelease|main/binary-[^/']+/Packages)[^']*' (\S+)", re.MULTILINE
)
_SIGNED_BY = re.compile(
    r"^Signed-By:[ \t]*(.*(?:\n[ \t].*)*)|\[[^\]]*signed-by=([^\]\s]+)",
    re.MULTILINE | re.IGNORECASE,
)
_ARCHIVE_OPTION = re.compile(r"(?:\[signed-by=(?P<key>[^\]]+)\]\s+)?(?P<uri>\S+)\s+(?P<suites>\S+)")
_ENVIRONMENT = {**os.environ, "LC_ALL": "C"}


@dataclass(frozen=True, slots=True)
class Source:
    """One archive: its address, the suites to read, and deb822 ``Signed-By`` ("" = apt's own)."""

    uri: str
    suites: tuple[str, ...]
    signed_by: str

    def as_deb822(self) -> str:
        """Return the stanza for a ``.sources`` file; only the package indices are fetched."""
        lines = [
            "Types: deb",
            f"URIs: {self.uri}",
            f"Suites: {' '.join(self.suites)}",
            "Components: main",
            "Architectures: amd64",
            "Targets: Packages",
            "Languages: none",
            "PDiffs: no",
        ]
        if self.signed_by:
            lines.append(f"Signed-By: {self.signed_by}")
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Row:
    """A file that apt fetches for an archive; ``name`` begins the name of its local copy."""

    uri: str
    suite: str
    is_packages: bool
    name: str


def parse_archive(text: str) -> Source:
    """Read one ``--archive 'URI SUITE[,SUITE...]'``, perhaps with ``[signed-by=KEYRING]`` before.

    :raises UsageError: it is not of that form
    """
    found = _ARCHIVE_OPTION.fullmatch(text.strip())
    if not found or ":" not in found["uri"] or not (suites := _words(found["suites"])):
        raise UsageError(f"--archive {text!r}: want '[signed-by=KEYRING] URI SUITE[,SUITE...]'")
    keyring = found["key"] or known_keyrings()
    if found["key"] and not Path(found["key"]).is_absolute():
        keyring = str(Path(found["key"]).expanduser().absolute())
    return Source(found["uri"].rstrip("/") + "/", suites, keyring)


def known_keyrings() -> str:
    """Return the distributions' keyrings that are installed here, as ``Signed-By`` takes them."""
    return " ".join(str(keyring) for keyring in _KEYRINGS if keyring.exists())


def machine_sources() -> tuple[Source, ...]:
    """Return the Debian or Ubuntu archives that this machine's apt is configured with.

    A Debian archive is asked for every suite of interest, not only for the machine's own release:
    kernels do not care.

    :raises MissingTools: there is no apt here
    :raises DownloadFailed: apt is configured with no such archive
    """
    try:
        told = subprocess.run(
            ["apt-get", "update", "--print-uris"],
            capture_output=True, text=True, check=False, env=_ENVIRONMENT,
        ).stdout  # fmt: skip
    except FileNotFoundError as error:
        raise MissingTools(("apt",), "a packaged kernel (--kernel also takes files)") from error
    sources = sources_from_uris(told, _APT_LISTS, _APT_ETC)
    if not sources:
        raise DownloadFailed(
            "apt on this machine is configured with no Debian or Ubuntu archive; "
            "name one with --archive 'URI SUITE[,SUITE...]', or give a kernel's file with --kernel"
        )
    return sources


def rows_of(told: str) -> tuple[Row, ...]:
    """Read what ``apt-get update --print-uris`` tells of releases and package indices."""
    return tuple(
        Row(uri, suite, what != "InRelease", name) for uri, suite, what, name in _ROW.findall(told)
    )


def sources_from_uris(told: str, lists: Path, etc: Path) -> tuple[Source, ...]:
    """Group what ``apt-get update --print-uris`` tells, which is complete before any download.

    :param lists: apt's downloaded lists, which say whose archive it is where they are present
    :param etc: apt's configuration directory, which names the keyrings
    """
    rows = rows_of(told)
    releases = {(row.uri, row.suite): row.name for row in rows if not row.is_packages}
    suites: dict[str, list[str]] = {}
    keys: dict[str, str] = {}
    for row in rows:
        if not row.is_packages or row.uri.startswith("cdrom:"):
            continue
        signed_by = _signed_by(row.uri, etc)
        if not _is_distribution(lists / releases.get((row.uri, row.suite), ""), signed_by):
            continue
        address = _first_of_mirror_list(row.uri)
        suites.setdefault(address, []).append(row.suite)
        keys.setdefault(address, signed_by or known_keyrings())
    return tuple(
        Source(uri, tuple(dict.fromkeys((*own, *_more_suites(own)))), keys[uri])
        for uri, own in suites.items()
    )


def _more_suites(own: list[str]) -> tuple[str, ...]:
    if any(suite in DEBIAN_SUITES for suite in own):
        return DEBIAN_SUITES
    if any(suite in SECURITY_SUITES for suite in own):
        return SECURITY_SUITES
    return ()


def _is_distribution(release: Path, signed_by: str) -> bool:
    # Third parties also publish suites called "bookworm".  The signed Release file says who it is;
    # before it was ever downloaded, the name of the keyring has to tell.
    if release.is_file():
        head = release.read_text(encoding="utf-8", errors="replace")[:2000]
        return re.search(r"^Origin: (?:Debian|Ubuntu)", head, re.MULTILINE) is not None
    return not signed_by.startswith("/") or Path(signed_by).name.startswith(("debian-", "ubuntu-"))


def _first_of_mirror_list(uri: str) -> str:
    # Cloud images say mirror+file:/etc/apt/mirrors/debian.list; single files need a real address.
    if not uri.startswith("mirror+file:"):
        return uri
    try:
        listed = Path("/" + uri.removeprefix("mirror+file:").strip("/")).read_text(encoding="utf-8")
    except OSError:
        return uri
    addresses = (line.split()[0] for line in listed.splitlines() if line.strip() and line[0] != "#")
    return next(addresses, uri).rstrip("/") + "/"


def _signed_by(uri: str, etc: Path) -> str:
    # apt tells its options by none of its commands, so the source's own text is looked at.
    for file in (etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))):
        if file.suffix not in {".list", ".sources"} or not os.access(file, os.R_OK):
            continue
        text = re.sub(r"^#.*\n?", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
        for entry in text.split("\n\n") if file.suffix == ".sources" else text.splitlines():
            addresses = {word.rstrip("/") for word in entry.split()}
            if uri.rstrip("/") in addresses and (found := _SIGNED_BY.search(entry)):
                return (found[1] or found[2]).rstrip()
    return ""


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.split(",") if word)
