import gzip
import io
import lzma
import shutil
import struct
import subprocess

import pytest
import zstandard
from elftools.elf.elffile import ELFFile

from kvmprobe.errors import KernelNotFound, UsageError
from kvmprobe.lab import modules


@pytest.fixture
def shelf(tmp_path, make_module):
    """Return a fetch function over modules given as name → dependencies."""

    def make(**depends):
        def fetch(names):
            found = {}
            for name in names & depends.keys():
                found[name] = tmp_path / f"{name}.ko"
                found[name].write_bytes(make_module(name, depends[name]))
            return found

        return fetch

    return make


def never(name):
    return False


def order(paths):
    return [path.stem for path in paths]


@pytest.mark.parametrize(
    ("file_name", "name"),
    [
        ("kvm-intel.ko", "kvm_intel"),
        ("kvm.ko.xz", "kvm"),
        ("kvm.ko.zst", "kvm"),
        ("irqbypass.ko.gz", "irqbypass"),
        ("kvm.o", ""),
        ("modules.builtin", ""),
    ],
)
def test_module_name_of_a_file(file_name, name):
    assert modules.module_name(file_name) == name


def test_modinfo_is_read(tmp_path, make_module):
    module = tmp_path / "kvm-intel.ko"
    module.write_bytes(make_module("kvm-intel", ["kvm", "a-b"], "6.1.0-56-cloud-amd64"))
    info = modules.read_info(module)
    assert info == modules.ModuleInfo("kvm_intel", ("kvm", "a_b"), "6.1.0-56-cloud-amd64")


@pytest.mark.parametrize(
    "content", [b"", b"\x7fELF", b"#!/bin/sh\n" * 20, b"\x7fELF\x02\x01" + b"\xff" * 90]
)
def test_something_else_is_no_module(tmp_path, content):
    (tmp_path / "kvm.ko").write_bytes(content)
    with pytest.raises(UsageError, match=r"kvm\.ko"):
        modules.read_info(tmp_path / "kvm.ko")


def test_dependencies_come_first(shelf):
    fetch = shelf(kvm_intel=["kvm"], kvm=["irqbypass"], irqbypass=[])
    assert order(modules.gather(fetch, never)) == ["irqbypass", "kvm", "kvm_intel"]


def test_unexpected_dependencies_are_fetched_too(shelf):
    fetch = shelf(kvm_intel=["kvm", "tdx"], kvm=["extra"], extra=["deep"], deep=[], tdx=[])
    assert order(modules.gather(fetch, never)) == ["deep", "extra", "kvm", "tdx", "kvm_intel"]


def test_likely_module_that_nothing_needs_is_left_out(shelf):
    fetch = shelf(kvm_intel=["kvm"], kvm=[], irqbypass=[])
    assert order(modules.gather(fetch, never)) == ["kvm", "kvm_intel"]


def test_built_in_kvm_needs_no_modules(shelf):
    assert modules.gather(shelf(), lambda name: name == "kvm_intel") == ()


def test_kernel_without_kvm_is_refused(shelf):
    with pytest.raises(KernelNotFound, match="no kvm-intel module"):
        modules.gather(shelf(kvm=[]), never)


def test_missing_dependency_is_named(shelf):
    with pytest.raises(KernelNotFound, match="irqbypass"):
        modules.gather(shelf(kvm_intel=["kvm"], kvm=["irqbypass"]), never)


def test_circular_dependencies_are_refused(shelf):
    with pytest.raises(UsageError, match="circular"):
        modules.gather(shelf(kvm_intel=["kvm"], kvm=["kvm_intel"]), never)


def test_a_disk_needs_controller_driver_and_file_system(shelf):
    fetch = shelf(
        ata_piix=["libata"], libata=["scsi_mod"], scsi_mod=[], sd_mod=["scsi_mod"], ext4=[]
    )
    found = order(modules.gather_for_disk(fetch))
    assert found == ["scsi_mod", "libata", "ata_piix", "sd_mod", "ext4"]


def test_what_a_disk_needs_may_be_built_in(shelf):
    assert order(modules.gather_for_disk(shelf(sd_mod=["scsi_mod"]))) == ["sd_mod"]


def test_an_unexpected_need_of_a_disk_is_fetched_too(shelf):
    assert order(modules.gather_for_disk(shelf(ext4=["new"], new=[]))) == ["new", "ext4"]


def test_an_algorithm_that_is_asked_for_at_mount_is_loaded_before(tmp_path, make_module):
    # As ext4 of Linux 6.1 says: MODULE_SOFTDEP("pre: crypto-crc32c").
    files = {"ext4": ("pre: a post: b", "pre: crypto-crc32c"), "crc32c_generic": (), "b": ()}

    def fetch(names):
        found = {name: tmp_path / f"{name}.ko" for name in names & files.keys()}
        for name, path in found.items():
            path.write_bytes(make_module(name, wants=files[name]))
        return found

    assert order(modules.gather_for_disk(fetch)) == ["crc32c_generic", "ext4"]


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [
        ("", bytes),
        (".xz", lzma.compress),
        (".gz", gzip.compress),
        (".zst", zstandard.compress),
    ],
)
def test_module_is_decompressed(suffix, pack):
    assert modules.decompressed(pack(b"module"), f"kvm.ko{suffix}") == b"module"


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [(".xz", lzma.compress), (".gz", gzip.compress), (".zst", zstandard.compress)],
)
def test_a_truncated_module_is_named(suffix, pack):
    with pytest.raises(UsageError, match=rf"kvm\.ko\{suffix}: damaged"):
        modules.decompressed(pack(bytes(range(256)) * 40)[:-20], f"kvm.ko{suffix}")


@pytest.mark.parametrize("suffix", [".xz", ".gz", ".zst"])
def test_damaged_module_is_named(suffix):
    with pytest.raises(UsageError, match=rf"kvm\.ko\{suffix}: damaged"):
        modules.decompressed(b"nonsense", f"kvm.ko{suffix}")


def test_modules_of_another_kernel_are_refused(tmp_path, make_module):
    (tmp_path / "kvm.ko").write_bytes(make_module("kvm", (), "6.1.0"))
    with pytest.raises(UsageError, match=r"kvm\.ko was built for kernel '6\.1\.0'.*'6\.2\.0'"):
        modules.check_release((tmp_path / "kvm.ko",), "6.2.0", tmp_path / "bzImage")


@pytest.mark.skipif(not shutil.which("strip") or not shutil.which("cc"), reason="needs binutils")
def test_debug_sections_are_dropped(tmp_path):
    (tmp_path / "a.c").write_text("int a(void) { return 1; }")
    module = tmp_path / "a.ko"
    subprocess.run(["cc", "-g", "-c", "a.c", "-o", module], cwd=tmp_path, check=True)
    before = module.stat().st_size
    modules.drop_debug_sections(module)
    assert module.stat().st_size < before


def test_a_section_that_is_larger_than_its_file_is_damage(tmp_path, make_module):
    content = bytearray(make_module("kvm", ()))
    with ELFFile(io.BytesIO(content)) as read:
        place = read["e_shoff"] + read.get_section_index(".modinfo") * read["e_shentsize"]
    # Elf64_Shdr: sh_size is at 32
    struct.pack_into("<Q", content, place + 32, 1 << 40)
    (tmp_path / "kvm.ko").write_bytes(content)
    with pytest.raises(UsageError, match=r"the section \.modinfo has no 1099511627776 bytes"):
        modules.read_info(tmp_path / "kvm.ko")
