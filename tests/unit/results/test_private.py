"""Directories that other users can write are refused by root."""

import os

import pytest

from kvmprobe.errors import UsageError
from kvmprobe.lab.cache import Cache
from kvmprobe.results.private import require_private
from kvmprobe.results.run_directory import RunDirectory

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
NOBODY = 65534
BEGIN = {"planned": [], "boot_id": "b", "time": "2026-01-01T00:00:00Z"}


def refused(path):
    with pytest.raises(UsageError, match="kvmprobe runs as root") as error:
        require_private(path, "do something else")
    return str(error.value)


def test_its_own_and_one_that_is_not_there_pass(tmp_path):
    require_private(tmp_path, "")
    require_private(tmp_path / "new", "")


def test_that_of_another_user_is_refused_by_name(tmp_path):
    os.chown(tmp_path, NOBODY, NOBODY)
    assert "it belongs to user nobody" in refused(tmp_path)


@pytest.mark.parametrize("mode", [0o770, 0o777, 0o702, 0o1777])
def test_one_that_others_can_write_is_refused_with_its_mode(tmp_path, mode):
    tmp_path.chmod(mode)
    assert f"other users can write it (mode {mode:04o})" in refused(tmp_path)


def test_a_link_of_another_user_is_refused(tmp_path):
    (tmp_path / "own").mkdir()
    link = tmp_path / "link"
    link.symlink_to("own")
    os.chown(link, NOBODY, NOBODY, follow_symlinks=False)
    assert "it belongs to user nobody" in refused(link)


def test_one_that_anyone_can_replace_is_refused_unless_the_sticky_bit_protects_it(tmp_path):
    (tmp_path / "own").mkdir()
    tmp_path.chmod(0o777)
    assert "anyone can replace it" in refused(tmp_path / "own")
    tmp_path.chmod(0o1777)
    require_private(tmp_path / "own", "")


@pytest.mark.parametrize("folder", ["", "kernels", "emulator"])
def test_root_uses_no_cache_that_others_can_write(tmp_path, folder):
    (tmp_path / "cache" / folder).mkdir(parents=True)
    os.chown(tmp_path / "cache" / folder, NOBODY, NOBODY)
    with pytest.raises(UsageError, match="set KVMPROBE_CACHE"):
        Cache.from_environment({"KVMPROBE_CACHE": str(tmp_path / "cache")})


def test_root_begins_no_run_in_a_directory_of_another_user(tmp_path):
    os.chown(tmp_path, NOBODY, NOBODY)
    with pytest.raises(UsageError, match="run as that user"):
        RunDirectory.create(tmp_path, BEGIN)
    assert list(tmp_path.iterdir()) == []


def test_root_continues_no_run_that_others_can_write(tmp_path):
    RunDirectory.create(tmp_path / "run", BEGIN).close()
    (tmp_path / "run").chmod(0o777)
    with pytest.raises(UsageError, match="run as that user"):
        RunDirectory.open(tmp_path / "run")


def test_a_link_where_the_journal_is_prepared_is_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("kept")
    run = tmp_path / "run"
    run.mkdir()
    (run / ".journal.jsonl.new").symlink_to(victim)
    RunDirectory.create(run, BEGIN).close()
    assert victim.read_text() == "kept"
