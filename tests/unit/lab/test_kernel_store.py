"""Entries of kernels: damage is found and named, and what nothing uses can be removed."""

import os

import pytest

from kvmprobe.cli.main import main
from kvmprobe.errors import DownloadFailed, ExitCode
from kvmprobe.lab import kernel_store
from kvmprobe.lab.archive import Archives
from kvmprobe.lab.kernels import resolve

RELEASE = "6.1.5+deb12-cloud-amd64"
DAY = 24 * 3600.0


@pytest.fixture
def archives(cache, repository, kernel_deb):
    deb = kernel_deb(RELEASE, "5.deb", "(a@b) #1 SMP Debian 6.1.5-1 (x)", 1_100_000)
    repository.add(deb, f"linux-image-{RELEASE}", "6.1.5-1")
    return Archives(cache, (repository.source(),))


@pytest.fixture
def kernel(archives, listener):
    return resolve("6.1.5", modules_dir=None, archives=archives, progress=listener)


def only(cache):
    (entry,) = kernel_store.entries(cache).values()
    return entry


def test_a_whole_entry_has_no_damaged_file(kernel, cache):
    assert (only(cache).label, only(cache).damaged) == ("6.1.5", ())


@pytest.mark.parametrize("name", ["kvm.ko", "kernel.json"])
def test_the_damaged_file_is_named(kernel, cache, name):
    (kernel.vmlinuz.parent / name).write_bytes(b"x")
    assert [path.name for path in only(cache).damaged] == [name]


def test_a_damaged_entry_is_fetched_again_and_said_so(kernel, archives, listener):
    kernel.modules[0].write_bytes(b"x")
    again = resolve("6.1.5", modules_dir=None, archives=archives, progress=listener)
    told = f"kernel: damaged in the cache, fetched again: {kernel.modules[0]}"
    assert (told in listener.stages, only(archives.cache).damaged) == (True, ())
    assert again == kernel


def test_a_damaged_entry_is_not_used_when_it_cannot_be_fetched(
    kernel, archives, repository, listener
):
    kernel.modules[0].write_bytes(b"x")
    for deb in (repository.root / "pool").iterdir():
        deb.unlink()
    with pytest.raises(DownloadFailed):
        resolve("6.1.5", modules_dir=None, archives=archives, progress=listener)


def test_what_a_download_left_when_it_was_killed_is_never_used(cache, archives, listener):
    # Half a package in a scratch directory, whose owner is gone.
    left = cache.folder("tmp", "1-abc") / "linux-image.deb"
    left.write_bytes(b"half")
    resolve("6.1.5", modules_dir=None, archives=archives, progress=listener)
    assert (only(cache).damaged, left.exists()) == ((), False)


def test_use_makes_it_recent(kernel, cache):
    os.utime(kernel.vmlinuz.parent / "kernel.json", (0, 0))
    assert [entry.label for entry in kernel_store.unneeded(cache, DAY)] == ["6.1.5"]
    kernel_store.use(kernel)
    assert kernel_store.unneeded(cache, DAY) == ()


@pytest.fixture
def pruned(kernel, cache, monkeypatch):
    """The kernel, used long ago, in the cache that the command prunes."""
    monkeypatch.setenv("KVMPROBE_CACHE", str(cache.root))
    os.utime(kernel.vmlinuz.parent / "kernel.json", (0, 0))
    return kernel


@pytest.mark.parametrize(
    ("options", "stays", "says"),
    [
        ([], True, "there is nothing to remove"),
        (["--unused-kernels", "1", "--dry-run"], True, "would remove kernel 6.1.5 "),
        (["--unused-kernels", "1"], False, "removed kernel 6.1.5 "),
    ],
)
def test_pruning_says_what_it_removes(pruned, options, stays, says, capsys):
    assert main(["lab", "prune", *options]) == ExitCode.OK
    assert (pruned.vmlinuz.exists(), capsys.readouterr().out.startswith(says)) == (stays, True)
