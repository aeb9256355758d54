from collections import namedtuple

import pytest

from kvmprobe.errors import UsageError
from kvmprobe.host.doctor import free_space as module
from kvmprobe.host.doctor.advice import Readiness
from kvmprobe.host.doctor.free_space import MIB, free_space

Usage = namedtuple("Usage", "total used free")


def test_a_folder_that_is_not_there_yet_has_the_room_of_its_parent(tmp_path):
    (here,) = free_space({"runs": tmp_path})
    (there,) = free_space({"runs": tmp_path / "not" / "yet"})
    assert (there.topic, there.readiness) == ("free space: runs", here.readiness)


@pytest.mark.parametrize(
    ("free", "readiness"),
    [
        (100 * MIB, Readiness.NOT_READY),
        (1000 * MIB, Readiness.WORTH_KNOWING),
        (3000 * MIB, Readiness.FINE),
    ],
)
def test_little_space_is_reported_by_how_little_it_is(tmp_path, monkeypatch, free, readiness):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: Usage(free, 0, free))
    (advice,) = free_space({"cache": tmp_path})
    assert advice.readiness is readiness


def test_a_user_without_such_a_folder_gets_the_reason():
    (advice,) = free_space({"runs": UsageError("no home directory")})
    assert (advice.readiness, advice.finding) == (Readiness.NOT_READY, "no home directory")
