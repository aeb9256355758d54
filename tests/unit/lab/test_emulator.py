import pytest

from kvmprobe.errors import MissingTools, VerificationFailed
from kvmprobe.lab import emulator
from kvmprobe.lab.archive import Archives
from kvmprobe.lab.cache import Cache


def test_a_changed_patch_or_option_is_another_emulator(tmp_path):
    patch = tmp_path / "01-a.patch"
    names = set()
    for content in ("one", "two"):
        patch.write_text(content)
        names.add(emulator._Recipe((patch,), ("./configure",)).name)
    names.add(emulator._Recipe((), ("./configure",)).name)
    names.add(emulator._Recipe((), ("./configure", "--enable-smp")).name)
    assert len(names) == 4


def test_every_patch_names_files_below_the_source_tree():
    patches = sorted(emulator._PATCHES.glob("*.patch"))
    assert patches
    for patch in patches:
        targets = [line for line in patch.read_text().splitlines() if line.startswith("+++ ")]
        assert targets
        assert all(target.startswith("+++ b/") for target in targets)


def test_missing_tools_are_reported_before_anything_is_fetched(tmp_path, monkeypatch, listener):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingTools, match="apt-get install") as failure:
        emulator.ensure(Archives(Cache(tmp_path / "cache")), listener)
    assert failure.value.names == ("binutils", "g++", "gcc", "make", "patch", "util-linux")
    assert listener.stages == []


def test_another_tarball_is_refused(tmp_path, listener):
    tarball = tmp_path / "bochs.tar.xz"
    tarball.write_bytes(b"something else")
    with pytest.raises(VerificationFailed):
        emulator.ensure(Archives(Cache(tmp_path / "cache")), listener, tarball=tarball)
