import os
import subprocess
import sys
from pathlib import Path

import pytest

from kvmprobe.errors import (
    DownloadFailed,
    KernelNotFound,
    KvmprobeError,
    UsageError,
    VerificationFailed,
)
from kvmprobe.lab.archive import Archives, Refresh
from kvmprobe.lab.kernels import available, ladder, resolve
from kvmprobe.lab.sources import Source

BIG = 1_100_000  # real packages are over a megabyte; smaller ones only depend on others
TRIES_TO_RESOLVE = """
import sys
from pathlib import Path
from kvmprobe.lab.archive import Archives
from kvmprobe.lab.cache import Cache
from kvmprobe.lab.kernels import resolve
from kvmprobe.progress import Silent
archives = Archives(Cache(Path(sys.argv[1])))
kernel = resolve(sys.argv[2], modules_dir=None, archives=archives, progress=Silent())
print(kernel.vmlinuz, len(kernel.modules))
"""


@pytest.fixture
def archives(cache):
    """Return archives that nothing can be fetched from: for specs that name files."""
    return Archives(cache, (Source("file:/nowhere/", ("stable",), "/none.gpg"),), Refresh.NEVER)


@pytest.fixture
def ask(archives, listener):
    def resolved(spec, modules_dir=None, archives=archives):
        return resolve(spec, modules_dir=modules_dir, archives=archives, progress=listener)

    return resolved


@pytest.fixture
def packaged(cache, repository, kernel_deb):
    """Return an archive with kernels 6.1.5 and 6.1.6, each in one package."""
    for patch in (5, 6):
        release = f"6.1.{patch}+deb12-cloud-amd64"
        version = f"6.1.{patch}-1"
        deb = kernel_deb(release, f"{patch}.deb", f"(a@b) #1 SMP Debian {version} (x)", BIG)
        repository.add(deb, f"linux-image-{release}", version)
    return Archives(cache, (repository.source(),))


def test_version_is_fetched_and_unpacked(ask, packaged):
    kernel = ask("6.1.5", archives=packaged)
    assert (kernel.release, kernel.label) == ("6.1.5+deb12-cloud-amd64", "6.1.5")
    assert kernel.source == "linux-image-6.1.5+deb12-cloud-amd64 6.1.5-1 (stable)"
    assert [path.name for path in kernel.modules] == ["irqbypass.ko", "kvm.ko", "kvm-intel.ko"]
    assert kernel.vmlinuz.is_file()


def test_newest_that_fits_is_chosen(ask, packaged):
    specs = (None, "6", "6.1", "6.1.6+deb12-cloud-amd64")
    assert {spec: ask(spec, archives=packaged).label for spec in specs} == dict.fromkeys(
        specs, "6.1.6"
    )


def test_second_time_nothing_is_fetched_or_unpacked(ask, packaged, listener, repository):
    first = ask("6.1", archives=packaged)
    listener.stages.clear()
    repository.root.rename(repository.root.with_name("gone"))
    assert ask("6.1", archives=packaged) == first
    assert listener.stages == []


def test_package_is_not_kept_after_unpacking(ask, packaged, cache):
    ask("6.1", archives=packaged)
    assert list((cache.root / "debs").iterdir()) == []


def test_damaged_entry_is_made_again(ask, packaged):
    folder = ask("6.1", archives=packaged).vmlinuz.parent
    names = ("vmlinuz", "kvm.ko", "kernel.json")
    whole = {name: (folder / name).read_bytes() for name in names}
    for name in names:
        (folder / name).write_bytes(whole[name][:100])
        ask("6.1", archives=packaged)
        assert (folder / name).read_bytes() == whole[name], name


def test_unknown_version_lists_the_nearest(ask, packaged):
    with pytest.raises(KernelNotFound, match=r"6\.1\.7 .* 6\.1\.5, 6\.1\.6"):
        ask("6.1.7", archives=packaged)


def test_version_that_appeared_meanwhile_is_found(ask, packaged, repository, kernel_deb, cache):
    ask("6.1.6", archives=packaged)
    deb = kernel_deb("6.1.7-cloud-amd64", "7.deb", "(a@b) #1", BIG)
    repository.add(deb, "linux-image-6.1.7-cloud-amd64", "6.1.7-1")
    for stamp in (cache.root / "apt").glob("*/updated"):
        os.utime(stamp, (stamp.stat().st_mtime - 1000,) * 2)
    later = Archives(cache, (repository.source(),))
    assert ask("6.1.7", archives=later).label == "6.1.7"


def test_version_without_modules_package_is_explained(ask, packaged, repository, kernel_deb):
    deb = kernel_deb("7.0.1-cloud-amd64", "b.deb", "x", BIG)
    repository.add(deb, "linux-binary-7.0.1-cloud-amd64", "7.0.1-1")
    with pytest.raises(KernelNotFound, match="without its modules package"):
        ask("7.0.1", archives=packaged)
    assert ask(None, archives=packaged).label == "6.1.6"


def test_next_package_of_the_version_is_tried_when_one_is_missing(
    ask, packaged, repository, kernel_deb, listener
):
    release = "6.1.6+deb13-cloud-amd64"
    repository.add(
        kernel_deb(release, "o.deb", "x", BIG), f"linux-image-{release}", "6.1.6-2"
    ).unlink()
    assert ask("6.1.6", archives=packaged).release == "6.1.6+deb12-cloud-amd64"
    assert any(release in stage and "cannot be fetched" in stage for stage in listener.stages)


def test_older_version_is_used_and_reported_if_the_newest_cannot_be_fetched(
    ask, packaged, repository, listener
):
    next((repository.root / "pool").glob("*6.1.6*")).unlink()
    assert ask("6.1", archives=packaged).label == "6.1.5"
    assert any("6.1.6" in stage and "cannot be fetched" in stage for stage in listener.stages)


def test_exact_version_that_cannot_be_had_fails_with_its_packages(ask, packaged, repository):
    next((repository.root / "pool").glob("*6.1.6*")).unlink()
    with pytest.raises(DownloadFailed, match=r"linux-image-6\.1\.6"):
        ask("6.1.6", archives=packaged)


def test_tampered_kernel_package_is_refused(ask, packaged, repository):
    pool = next((repository.root / "pool").glob("*6.1.6*"))
    pool.write_bytes(pool.read_bytes()[:-1] + b"X")
    with pytest.raises(VerificationFailed, match=r"linux-image-6\.1\.6"):
        ask("6.1.6", archives=packaged)


def test_kept_kernel_serves_when_no_archive_answers(ask, packaged):
    first = ask("6.1.5", archives=packaged)
    assert ask("6.1.5") == first


def test_packaged_versions_can_be_listed(packaged, listener):
    assert [candidate.label for candidate in available(packaged, listener)] == ["6.1.6", "6.1.5"]


def test_kernel_package_file_is_taken(ask, kernel_deb):
    deb = kernel_deb()
    kernel = ask(str(deb))
    assert (kernel.release, kernel.source) == ("6.12.1-test", str(deb))


@pytest.mark.parametrize("separator", [",", os.pathsep])
def test_several_package_files_are_taken_together(
    ask, tmp_path, make_deb, make_bzimage, kernel_files, separator
):
    binary = make_deb(tmp_path / "binary.deb", {"boot/vmlinuz-x": make_bzimage()})
    files = kernel_files("6.12.1-test", "lib/modules", packed=True)
    modules = make_deb(tmp_path / "modules.deb", files)
    assert len(ask(f"{binary}{separator}{modules}").modules) == 3


def test_bzimage_with_modules_directory_is_taken(ask, tmp_path, make_bzimage, kernel_files):
    (tmp_path / "bzImage").write_bytes(make_bzimage())
    for name, content in kernel_files("6.12.1-test", "m", packed=True).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    kernel = ask(str(tmp_path / "bzImage"), tmp_path / "m")
    assert kernel.label == "6.12.1"
    assert len(kernel.modules) == 3


def test_rebuilt_kernel_is_taken_afresh(ask, tmp_path, make_bzimage):
    tree = tmp_path / "linux"
    (tree / "arch/x86/boot").mkdir(parents=True)
    (tree / "modules.builtin").write_text("kernel/arch/x86/kvm/kvm-intel.ko\n")
    seen = []
    for remark in ("#1", "#2"):
        (tree / "arch/x86/boot/bzImage").write_bytes(make_bzimage("6.12.1-test", remark))
        seen.append(ask(str(tree)).vmlinuz.read_bytes())
    assert b"#1" in seen[0]
    assert b"#2" in seen[1]


@pytest.mark.parametrize("spec", ["newest", "", "v6.12", "6.1 5"])
def test_unreadable_spec_is_a_usage_error(ask, spec):
    with pytest.raises(UsageError, match="neither a version nor an existing file"):
        ask(spec)


@pytest.mark.parametrize("spec", ["6.1.5", "a.deb"])
def test_modules_of_a_packaged_kernel_cannot_be_replaced(ask, spec, tmp_path):
    with pytest.raises(UsageError, match=r"--modules: kernel .* has modules of its own"):
        ask(spec, modules_dir=tmp_path)


@pytest.mark.parametrize("spec", ["/no/such/bzImage", "none.deb", "./x"])
def test_missing_file_is_a_usage_error(ask, spec):
    with pytest.raises(UsageError, match="does not exist"):
        ask(spec)


def test_version_means_a_package_even_beside_a_file_of_that_name(
    ask, packaged, tmp_path, monkeypatch
):
    (tmp_path / "6.1").mkdir()
    monkeypatch.chdir(tmp_path)
    assert ask("6.1", archives=packaged).label == "6.1.6"


def test_file_of_another_kind_is_a_usage_error(ask, tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(UsageError, match=r"neither \.deb packages nor"):
        ask(str(tmp_path / "notes.txt"))


def test_damaged_package_file_leaves_no_files(ask, kernel_deb, cache):
    deb = kernel_deb()
    deb.write_bytes(deb.read_bytes()[:-200])
    with pytest.raises(KvmprobeError):
        ask(str(deb))
    assert list(cache.root.glob("kernels/*")) == list(cache.root.glob("tmp/*")) == []


def test_two_processes_resolve_one_kernel_at_once(kernel_deb, cache):
    cache.folder()
    command = [sys.executable, "-c", TRIES_TO_RESOLVE, str(cache.root), str(kernel_deb())]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    racers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    said = {racer.communicate()[0] for racer in racers}
    assert len(said) == 1
    assert said.pop().endswith("vmlinuz 3\n")
    assert len(list(cache.root.glob("kernels/*"))) == 1


@pytest.mark.parametrize(("one", "other"), [("6.1.5", "6.1.6"), ("6.1", "6.1.5")])
def test_a_ladder_has_the_kernels_from_one_to_the_other(packaged, listener, one, other):
    found = ladder(one, other, packaged, listener)
    assert found.labels == ("6.1.5", "6.1.6")
    assert found.ends == tuple("6.1.6" if spec == "6.1" else spec for spec in (one, other))


def test_a_ladder_names_kernels_without_their_modules(packaged, repository, kernel_deb, listener):
    deb = kernel_deb("6.1.5.1-cloud-amd64", "b.deb", "x", BIG)
    repository.add(deb, "linux-binary-6.1.5.1-cloud-amd64", "6.1.5.1-1")
    found = ladder("6.1.5", "6.1.6", packaged, listener)
    assert (found.labels, found.lacking) == (("6.1.5", "6.1.6"), ("6.1.5.1",))
