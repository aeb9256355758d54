"""Saved templates on the disk: what is kept, and what is removed."""

import json
import os

import pytest

from kvmprobe.lab.cache import Cache
from kvmprobe.lab.saved import Booted, SavedTemplate, excess, remove

HELLO = Booted("hello", {"kvm": 0xFFFFFFFFC0000000})
CPU = 'cpu: model=sapphire_rapids, count=1:1:1, ips=1, exclude_features="la57"'


@pytest.fixture
def template(tmp_path):
    return SavedTemplate(Cache(tmp_path), "key", CPU, 1)


def state(template, *, ram=b"\1" * 4096):
    """A directory as the emulator leaves it."""
    folder = template.cache.folder("state")
    (folder / "config").write_text(
        "cpu: count=1:1:1, model=x\noptramimage1: file=/proc/self/fd/9\n"
    )
    (folder / "memory.ram").write_bytes(ram)
    return folder


def test_there_is_none_at_first(template):
    assert template.booted() is None


def test_a_published_one_has_its_greeting(template):
    template.publish(state(template), HELLO)
    assert template.booted() == HELLO


def test_its_configuration_names_no_file_of_the_first_run(template):
    template.publish(state(template), HELLO)
    text = (template.folder / "config").read_text()
    assert text == f"{CPU}\noptramimage1: file=none\n"


@pytest.mark.parametrize("name", ["memory.ram", "config", "template.json"])
def test_a_damaged_one_is_removed(template, name):
    template.publish(state(template), HELLO)
    (template.folder / name).write_bytes(b"x")
    assert (template.booted(), template.folder.exists()) == (None, False)


def test_holes_and_zeros_are_the_same(template):
    folder = state(template, ram=bytes(1 << 20) + b"end")
    template.publish(folder, HELLO)
    ram = template.folder / "memory.ram"
    ram.unlink()
    with ram.open("wb") as file:
        file.seek(1 << 20)
        file.write(b"end")
    assert template.booted() == HELLO


def test_an_older_form_is_removed(template):
    template.publish(state(template), HELLO)
    manifest = template.folder / "template.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"schema": "older/1"}))
    assert template.booted() is None


def test_one_that_others_can_write_is_not_used(template):
    template.publish(state(template), HELLO)
    template.folder.chmod(0o777)
    assert template.booted() is None


def test_what_was_found_out_is_recalled(template):
    template.publish(state(template), HELLO)
    template.remember({"kernel": "7.3.4"})
    assert template.recall() == {"kernel": "7.3.4"}


def test_another_kvmprobe_recalls_nothing(template, monkeypatch):
    template.remember({"kernel": "7.3.4"})
    monkeypatch.setattr("kvmprobe.lab.saved._code", lambda: "other")
    assert template.recall() is None


def test_the_least_recently_used_is_removed_first(tmp_path):
    cache = Cache(tmp_path)
    for age, key in enumerate(["new", "old"]):
        template = SavedTemplate(cache, key, CPU, 1)
        template.publish(state(template), HELLO)
        template.remember({})
        os.utime(template.folder / "template.json", (1000 - age, 1000 - age))
    one = sum(f.stat().st_blocks * 512 for f in (tmp_path / "templates" / "new").iterdir())
    (least,) = excess(cache, one)
    remove(least)
    assert sorted(p.name for p in (tmp_path / "templates").iterdir()) == ["new", "new.json"]


def test_nothing_is_left_if_nothing_may_be(tmp_path):
    template = SavedTemplate(Cache(tmp_path), "key", CPU, 1)
    template.publish(state(template), HELLO)
    template.remember({})
    for one in excess(template.cache, 0):
        remove(one)
    assert list((tmp_path / "templates").iterdir()) == []
