"""Compiled parts are refused if they were built from other sources than those in use."""

import pytest

from kvmprobe import build_inputs
from kvmprobe.errors import StaleBuild


@pytest.fixture
def package(tmp_path):
    """A package with one source of each kind, whose ``native/zygote`` is built from them."""
    root = tmp_path / "kvmprobe"
    for name in ("abi/limits.py", "abi/ioctls/vcpu.py", "native/wire.c", "native/shared/bytes.h"):
        _write(root / name, f"source of {name}")
    _write(tmp_path / "cdefs" / "shim.h", "source")
    build_inputs._hash.cache_clear()
    _build(root)
    yield root
    build_inputs._hash.cache_clear()


def _write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _build(root, mark=None):
    text = build_inputs.mark(root) if mark is None else mark
    _write(root / "native" / "zygote", f"\x7fELF...{text}\0...")


def _changed(path):
    path.write_text(f"{path.read_text()} changed")
    build_inputs._hash.cache_clear()


def test_parts_built_from_the_sources_in_use_are_accepted(package):
    build_inputs.check_parts(package)


@pytest.mark.parametrize(
    "source",
    [
        "kvmprobe/abi/limits.py",
        "kvmprobe/abi/ioctls/vcpu.py",
        "kvmprobe/native/wire.c",
        "kvmprobe/native/shared/bytes.h",
        "cdefs/shim.h",
    ],
)
def test_a_part_is_refused_after_a_change_of_any_of_its_sources(package, source):
    _changed(package.parent / source)
    with pytest.raises(StaleBuild, match=r"native/zygote was built from other sources"):
        build_inputs.check_parts(package)


def test_a_part_is_refused_after_a_source_is_added(package):
    _write(package / "native" / "new.c", "")
    build_inputs._hash.cache_clear()
    with pytest.raises(StaleBuild):
        build_inputs.check_parts(package)


def test_a_part_without_a_mark_is_refused(package):
    _build(package, mark="")
    with pytest.raises(StaleBuild, match="it names no sources,"):
        build_inputs.check_parts(package)


def test_the_message_has_both_hashes_and_what_to_do(package):
    before = build_inputs.mark(package).split()[-2]
    _changed(package / "abi" / "limits.py")
    after = build_inputs.mark(package).split()[-2]
    with pytest.raises(StaleBuild) as caught:
        build_inputs.check_parts(package)
    assert before != after
    assert [text in str(caught.value) for text in (before, after, "scripts/test")] == [True] * 3


def test_an_installed_package_needs_no_cdefs(package):
    (package.parent / "cdefs" / "shim.h").unlink()
    (package.parent / "cdefs").rmdir()
    build_inputs._hash.cache_clear()
    build_inputs.check_parts(package)


def test_an_installed_package_is_refused_after_a_change_of_its_own_sources(package):
    (package.parent / "cdefs" / "shim.h").unlink()
    (package.parent / "cdefs").rmdir()
    _changed(package / "native" / "wire.c")
    with pytest.raises(StaleBuild):
        build_inputs.check_parts(package)


def test_without_sources_nothing_is_checked(package):
    _build(package, mark="")
    (package / "native" / "wire.c").unlink()
    build_inputs.check_parts(package)


def test_files_of_editors_are_no_sources(package):
    _write(package / "native" / ".#wire.c", "")
    build_inputs._hash.cache_clear()
    build_inputs.check_parts(package)
