import lzma
import os
import time
from dataclasses import replace

import pytest

from kvmprobe.errors import DownloadFailed, UsageError, VerificationFailed
from kvmprobe.lab import download
from kvmprobe.lab.apt_state import failure_of
from kvmprobe.lab.archive import Archives, Refresh
from kvmprobe.lab.sources import Source
from kvmprobe.progress import Silent

NAMES = ("tool-",)


@pytest.fixture
def deb(tmp_path, make_deb):
    return make_deb(tmp_path / "tool.deb", {"usr/bin/tool": os.urandom(5000)})


@pytest.fixture
def archives(cache, repository):
    return Archives(cache, (repository.source(),))


def listed(archives, progress=None):
    return archives.packages(NAMES, progress or Silent())


def test_packages_of_a_signed_archive_are_listed(archives, repository, deb):
    repository.add(deb, "tool-a", "1.0-1")
    repository.add(deb, "other", "1.0-1")
    (package,) = listed(archives)
    assert (package.name, package.version, package.suite) == ("tool-a", "1.0-1", "stable")
    assert package.base_uri == repository.uri


def test_listed_package_is_fetched_and_checked(archives, repository, deb):
    repository.add(deb, "tool-a", "1.0-1")
    fetched = archives.fetch(listed(archives), Silent())
    assert fetched.read_bytes() == deb.read_bytes()
    assert archives.cache.root in fetched.parents


def test_index_with_a_wrong_signature_is_refused(archives, repository, deb):
    repository.add(deb, "tool-a", "1.0-1")
    release = repository.root / "dists/stable/InRelease"
    release.write_text(release.read_text().replace("Origin: Test", "Origin: Evil"))
    with pytest.raises(VerificationFailed, match="stable"):
        listed(archives)


def test_index_signed_by_another_key_is_refused(cache, repository, deb, tmp_path):
    repository.add(deb, "tool-a", "1.0-1")
    (tmp_path / "empty.gpg").touch()
    source = Source(repository.uri, ("stable",), str(tmp_path / "empty.gpg"))
    with pytest.raises(VerificationFailed, match="stable"):
        listed(Archives(cache, (source,)))


def test_index_that_the_signature_does_not_cover_is_refused(archives, repository, deb):
    repository.add(deb, "tool-a", "1.0-1")
    index = repository.root / "dists/stable/main/binary-amd64/Packages.xz"
    index.write_bytes(
        lzma.compress(lzma.decompress(index.read_bytes()).replace(b"1.0-1", b"1.0-2"))
    )
    with pytest.raises(VerificationFailed, match="stable"):
        listed(archives)


def test_missing_archive_is_named(cache, repository):
    missing = Source("file:/nowhere/at/all/", ("stable",), str(repository.signer.keyring))
    with pytest.raises(DownloadFailed, match="/nowhere/at/all/ stable"):
        listed(Archives(cache, (missing,)))


def test_suite_that_fails_is_noted_and_left_out(cache, repository, deb, listener):
    repository.add(deb, "tool-a", "1.0-1")
    archives = Archives(cache, (repository.source("stable", "absent"),))
    assert len(listed(archives, listener)) == 1
    (note,) = archives.notes
    assert "absent" in note
    assert f"archive: {note}" in listener.stages


def test_lists_fetched_before_serve_when_the_archive_is_gone(cache, repository, deb):
    repository.add(deb, "tool-a", "1.0-1")
    listed(Archives(cache, (repository.source(),)))
    repository.root.rename(repository.root.with_name("gone"))
    again = Archives(cache, (repository.source(),), Refresh.NOW)
    assert [package.name for package in listed(again)] == ["tool-a"]
    assert again.notes[0].startswith("using the list fetched earlier")


def test_package_fetched_before_serves_when_the_archive_is_gone(archives, repository, deb):
    repository.add(deb, "tool-a", "1.0-1")
    package = listed(archives)
    archives.fetch(package, Silent())
    repository.root.rename(repository.root.with_name("gone"))
    assert archives.fetch(package, Silent()).read_bytes() == deb.read_bytes()


def test_fresh_lists_are_not_fetched_again(cache, repository, deb, listener):
    repository.add(deb, "tool-a", "1.0-1")
    listed(Archives(cache, (repository.source(),)))
    repository.add(deb, "tool-a", "2.0-1")
    again = Archives(cache, (repository.source(),))
    assert [package.version for package in listed(again, listener)] == ["1.0-1"]
    assert listener.stages == []


def test_lists_are_fetched_again_when_asked(cache, repository, deb):
    repository.add(deb, "tool-a", "1.0-1")
    listed(Archives(cache, (repository.source(),)))
    repository.add(deb, "tool-a", "2.0-1")
    again = Archives(cache, (repository.source(),), Refresh.NOW)
    assert [package.version for package in listed(again)] == ["1.0-1", "2.0-1"]


def test_old_lists_are_fetched_again(cache, repository, deb):
    repository.add(deb, "tool-a", "1.0-1")
    archives = Archives(cache, (repository.source(),))
    listed(archives)
    repository.add(deb, "tool-a", "2.0-1")
    yesterday = time.time() - 86400
    for stamp in (cache.root / "apt").glob("*/updated"):
        os.utime(stamp, (yesterday, yesterday))
    assert len(listed(Archives(cache, (repository.source(),)))) == 2


def test_lists_are_never_fetched_when_switched_off(cache, repository, deb):
    repository.add(deb, "tool-a", "1.0-1")
    with pytest.raises(DownloadFailed, match="switched off"):
        listed(Archives(cache, (repository.source(),), Refresh.NEVER))


def test_tampered_package_in_the_archive_is_refused(archives, repository, deb):
    pool = repository.add(deb, "tool-a", "1.0-1")
    package = listed(archives)
    pool.write_bytes(pool.read_bytes()[:-1] + b"X")
    with pytest.raises(VerificationFailed, match="tool-a"):
        archives.fetch(package, Silent())
    assert list((archives.cache.root / "debs").iterdir()) == []


def test_package_missing_in_the_archive_is_named(archives, repository, deb):
    repository.add(deb, "tool-a", "1.0-1").unlink()
    package = listed(archives)
    with pytest.raises(DownloadFailed, match=r"tool-a_1\.0-1_amd64\.deb"):
        archives.fetch(package, Silent())


@pytest.mark.parametrize("damage", [lambda b: b[:100], lambda b: b[:-1] + b"X", lambda b: b""])
def test_damaged_file_in_the_cache_is_fetched_again(archives, repository, deb, damage):
    repository.add(deb, "tool-a", "1.0-1")
    package = listed(archives)
    kept = archives.fetch(package, Silent())
    kept.write_bytes(damage(kept.read_bytes()))
    assert archives.fetch(package, Silent()).read_bytes() == deb.read_bytes()


def test_a_time_to_come_is_old(cache, repository, deb):
    repository.add(deb, "tool-a", "1.0-1")
    archives = Archives(cache, (repository.source(),))
    listed(archives)
    repository.add(deb, "tool-a", "2.0-1")
    for stamp in (cache.root / "apt").glob("*/updated"):  # the clock was wrong then
        os.utime(stamp, (time.time() + 86400,) * 2)
    assert len(listed(Archives(cache, (repository.source(),)))) == 2


@pytest.mark.parametrize("damage", [b"", b"[", b"{}", b"[[]]", b'[{"name": 1}]', b"\xff"])
def test_a_damaged_summary_is_made_again(cache, repository, deb, damage):
    repository.add(deb, "tool-a", "1.0-1")
    before = listed(Archives(cache, (repository.source(),)))
    (summary,) = (cache.root / "apt").glob("*/packages-*.json")
    summary.write_bytes(damage)
    assert listed(Archives(cache, (repository.source(),))) == before


def test_a_damaged_list_is_removed_and_fetched_again(cache, repository, deb):
    repository.add(deb, "tool-a", "1.0-1")
    before = listed(Archives(cache, (repository.source(),)))
    for file in (cache.root / "apt").glob("*/packages-*.json"):
        file.unlink()
    (index,) = (cache.root / "apt").glob("*/lists/*Packages*")
    packed = index.with_suffix(".gz")  # a suffix that makes apt decompress it
    index.rename(packed)
    packed.write_bytes(b"\x1f\x8bdamaged")
    with pytest.raises(VerificationFailed, match="damaged, and removed"):
        listed(Archives(cache, (repository.source(),)))
    assert listed(Archives(cache, (repository.source(),))) == before


def test_second_archive_serves_what_the_first_does_not(cache, repository, deb):
    repository.add(deb, "tool-a", "1.0-1", suite="one").unlink()
    archives = Archives(cache, (repository.source("one"),))
    (missing,) = listed(archives)
    pool = repository.add(deb, "tool-a", "1.0-1", suite="two")
    elsewhere = pool.with_name("elsewhere.deb")
    pool.rename(elsewhere)
    present = replace(missing, filename="pool/elsewhere.deb")
    assert archives.fetch((missing, present), Silent()).read_bytes() == deb.read_bytes()


def test_source_tarball_comes_from_the_archive(archives, repository, deb):
    repository.add(deb, "tool-a", "1.0-1")
    size, digest = deb.stat().st_size, download.sha256_of(deb)
    path = archives.fetch_source_tarball("pool/tool-a_1.0-1_amd64.deb", size, digest, Silent())
    assert path.read_bytes() == deb.read_bytes()


def test_users_own_tarball_is_checked_and_used_where_it_lies(archives, deb):
    digest = download.sha256_of(deb)
    size = deb.stat().st_size
    assert archives.fetch_source_tarball("p/x", size, digest, Silent(), local=deb) == deb


def test_users_own_tarball_with_another_hash_is_refused(archives, deb):
    with pytest.raises(VerificationFailed, match="SHA-256"):
        archives.fetch_source_tarball("p/x", deb.stat().st_size, "00", Silent(), local=deb)


def test_users_missing_tarball_is_a_usage_error(archives, tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        archives.fetch_source_tarball("p/x", 1, "00", Silent(), local=tmp_path / "none")


def test_urllib_serves_where_there_is_no_apt(tmp_path, deb, monkeypatch):
    monkeypatch.setattr(download, "APT_HELPER", tmp_path / "none")
    remote = download.Remote(f"file://{deb}", deb.stat().st_size, download.sha256_of(deb))
    download.download(remote, tmp_path / "got", Silent())
    assert (tmp_path / "got").read_bytes() == deb.read_bytes()


def test_urllib_names_what_it_could_not_fetch(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "APT_HELPER", tmp_path / "none")
    remote = download.Remote(f"file://{tmp_path}/absent", 1, "00")
    with pytest.raises(DownloadFailed, match="absent"):
        download.download(remote, tmp_path / "got", Silent())


# As apt 2.6 prints them.
SAID = """\
Hit:1 http://m/debian bookworm InRelease
Err:2 http://m/debian bookworm-backports InRelease
  404  Not Found [IP: 192.0.2.1 80]
E: The repository 'http://m/debian bookworm-backports Release' does not have a Release file.
W: Failed to fetch http://m/debian/dists/sid/InRelease  Could not resolve 'm'
"""


def test_failures_are_distinguished_by_suite():
    assert failure_of("bookworm", SAID) == ""
    assert failure_of("bookworm-backports", SAID).startswith("404  Not Found")
    assert failure_of("sid", SAID).endswith("Could not resolve 'm'")
