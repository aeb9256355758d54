"""The Debian archives to use: those of the machine's apt configuration, or the user's.

No host name is built in.
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
    """One archive: its address, its suites, and deb822 ``Signed-By`` ("" for apt's default)."""

    uri: str
    suites: tuple[str, ...]
    signed_by: str

    def as_deb822(self) -> str:
        """Return the stanza for a ``.sources`` file, which fetches package indices only."""
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
    """A file that apt fetches from an archive; ``name`` is a prefix of the local file's name."""

    uri: str
    suite: str
    is_packages: bool
    name: str


def parse_archive(text: str) -> Source:
    """Parse ``--archive '[signed-by=KEYRING] URI SUITE[,SUITE...]'``.

    :raises UsageError: the text has another form
    """
    found = _ARCHIVE_OPTION.fullmatch(text.strip())
    if not found or ":" not in found["uri"] or not (suites := _words(found["suites"])):
        raise UsageError(f"--archive {text!r}: expected '[signed-by=KEYRING] URI SUITE[,SUITE...]'")
    keyring = found["key"] or known_keyrings()
    if found["key"] and not Path(found["key"]).is_absolute():
        keyring = str(Path(found["key"]).expanduser().absolute())
    return Source(found["uri"].rstrip("/") + "/", suites, keyring)


def known_keyrings() -> str:
    """Return the distributions' keyrings on this host, in the form of ``Signed-By``."""
    return " ".join(str(keyring) for keyring in _KEYRINGS if keyring.exists())


def machine_sources() -> tuple[Source, ...]:
    """Return the Debian or Ubuntu archives in this machine's apt configuration.

    For a Debian archive all suites with kernels are used, not only the machine's own release.

    :raises MissingTools: apt is not installed
    :raises DownloadFailed: the configuration has no such archive
    """
    try:
        output = subprocess.run(
            ["apt-get", "update", "--print-uris"],
            capture_output=True, text=True, check=False, env=_ENVIRONMENT,
        ).stdout  # fmt: skip
    except FileNotFoundError as error:
        raise MissingTools(("apt",), "a packaged kernel (--kernel takes files as well)") from error
    sources = sources_from_uris(output, _APT_LISTS, _APT_ETC)
    if not sources:
        raise DownloadFailed(
            "apt's configuration on this machine has no Debian or Ubuntu archive; "
            "give one with --archive 'URI SUITE[,SUITE...]', or the path of a kernel with --kernel"
        )
    return sources


def rows_of(output: str) -> tuple[Row, ...]:
    """Parse the releases and package indices in the output of ``apt-get update --print-uris``."""
    return tuple(
        Row(uri, suite, what != "InRelease", name)
        for uri, suite, what, name in _ROW.findall(output)
    )


def sources_from_uris(output: str, lists: Path, etc: Path) -> tuple[Source, ...]:
    """Group the output of ``apt-get update --print-uris``, which needs no download.

    :param lists: apt's downloaded lists, which have the origin of each archive
    :param etc: apt's configuration directory, which has the keyrings
    """
    rows = rows_of(output)
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
    # Third parties publish suites called "bookworm" as well.  The signed Release file has the
    # origin; until it has been downloaded, the name of the keyring decides.
    if os.path.isfile(release):  # noqa: PTH113 - Path.is_file raises for names that are too long
        head = release.read_text(encoding="utf-8", errors="replace")[:2000]
        return re.search(r"^Origin: (?:Debian|Ubuntu)", head, re.MULTILINE) is not None
    return not signed_by.startswith("/") or Path(signed_by).name.startswith(("debian-", "ubuntu-"))


def _first_of_mirror_list(uri: str) -> str:
    # Cloud images have mirror+file:/etc/apt/mirrors/debian.list; fetching a file needs an address.
    if not uri.startswith("mirror+file:"):
        return uri
    try:
        listed = Path("/" + uri.removeprefix("mirror+file:").strip("/")).read_text(
            encoding="utf-8", errors="replace"
        )
    except OSError:
        return uri
    addresses = (line.split()[0] for line in listed.splitlines() if line.strip() and line[0] != "#")
    return next(addresses, uri).rstrip("/") + "/"


def _signed_by(uri: str, etc: Path) -> str:
    # No apt command prints the options of a source, so its file is read.
    for file in (etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))):
        if file.suffix not in {".list", ".sources"} or not os.access(file, os.R_OK):
            continue
        text = file.read_text(encoding="utf-8", errors="replace")
        text = re.sub(r"^#.*\n?", "", text, flags=re.MULTILINE)
        for entry in text.split("\n\n") if file.suffix == ".sources" else text.splitlines():
            addresses = {word.rstrip("/") for word in entry.split()}
            if uri.rstrip("/") in addresses and (found := _SIGNED_BY.search(entry)):
                return (found[1] or found[2] or "").rstrip()
    return ""


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in text.split(",") if word)
