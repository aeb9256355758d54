"""The kernel's own reader of KTAP, out of a distribution's source package.

Only ``tools/testing/kunit`` is kept, in the user's cache; the package itself is not.
"""

import tarfile
from pathlib import Path

from kvmprobe.errors import DownloadFailed
from kvmprobe.lab import debfile
from kvmprobe.lab.packages import version_key
from kvmprobe.progress import Silent

# Any kernel's would do; this one is in several of Debian's suites.
PACKAGE = "linux-source-6.12"
# kunit.py ends if its own path is another one.
FOLDER = "tools/testing/kunit"


def kunit(archives):
    """Return ``kunit.py``, with the modules that it imports beside it.

    :raises DownloadFailed: no archive has the source package
    """
    home = archives.cache.folder("kunit") / PACKAGE
    with archives.cache.locked(f"kunit of {PACKAGE}", Silent()):
        if not home.exists():
            _unpack(archives, home)
    return home / FOLDER / "kunit.py"


def _unpack(archives, home):
    listed = [p for p in archives.packages((PACKAGE,), Silent()) if p.name == PACKAGE]
    if not listed:
        raise DownloadFailed(f"no archive of this machine has {PACKAGE}")
    newest = max(listed, key=lambda package: version_key(package.version))
    same = [newest, *(p for p in listed if p.sha256 == newest.sha256 and p != newest)]
    deb = archives.fetch(same, Silent())
    with archives.cache.scratch() as work:
        unpacked = work / PACKAGE
        (unpacked / FOLDER).mkdir(parents=True)
        for path, content in debfile.files(deb):
            if path.endswith(".tar.xz"):
                _take_python(content, unpacked / FOLDER)
        archives.cache.publish(unpacked, home)
    deb.unlink()


def _take_python(tarball, folder):
    with tarfile.open(fileobj=tarball, mode="r|xz") as tar:
        for member in tar:
            _, found, name = member.name.partition(f"/{FOLDER}/")
            if found and member.isfile() and Path(name).suffix == ".py" and "/" not in name:
                (folder / name).write_bytes(tar.extractfile(member).read())
