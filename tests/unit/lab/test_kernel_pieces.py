import lzma
import os
import pwd
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from kvmprobe.errors import KernelNotFound, UsageError
from kvmprobe.lab import kernel_pieces
from kvmprobe.lab.modules import read_info

RELEASE = "6.12.1-test"


@pytest.fixture
def work(tmp_path):
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


@pytest.fixture
def build_tree(tmp_path, make_bzimage, make_module):
    """Return a kernel build tree as make leaves it."""
    tree = tmp_path / "linux"
    for path, name, depends in (
        ("arch/x86/kvm/kvm-intel.ko", "kvm_intel", ["kvm"]),
        ("arch/x86/kvm/kvm.ko", "kvm", ["irqbypass"]),
        ("virt/lib/irqbypass.ko", "irqbypass", []),
    ):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(make_module(name, depends, RELEASE))
    (tree / "arch/x86/boot").mkdir()
    (tree / "arch/x86/boot/bzImage").write_bytes(make_bzimage(RELEASE))
    (tree / "modules.builtin").touch()
    return tree


def names(pieces):
    return [path.name for path in pieces.modules]


def write(root, files):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def test_one_package_holds_kernel_and_modules(kernel_deb, work):
    pieces = kernel_pieces.from_debs((kernel_deb(),), work)
    assert pieces.banner.release == RELEASE
    assert names(pieces) == ["irqbypass.ko", "kvm.ko", "kvm-intel.ko"]
    assert [read_info(path).release for path in pieces.modules] == [RELEASE] * 3


def test_two_packages_hold_them_apart(tmp_path, make_deb, make_bzimage, kernel_files, work):
    image = {f"usr/lib/modules/{RELEASE}/vmlinuz": make_bzimage(RELEASE)}
    binary = make_deb(tmp_path / "binary.deb", image)
    files = kernel_files(RELEASE, "usr/lib/modules", packed=True)
    modules = make_deb(tmp_path / "modules.deb", files)
    pieces = kernel_pieces.from_debs((modules, binary), work)
    assert pieces.vmlinuz.read_bytes() == make_bzimage(RELEASE)
    assert len(pieces.modules) == 3


def test_package_without_kernel_is_refused(tmp_path, make_deb, kernel_files, work):
    deb = make_deb(tmp_path / "modules.deb", kernel_files(RELEASE, "lib/modules", packed=False))
    with pytest.raises(UsageError, match="linux-binary"):
        kernel_pieces.from_debs((deb,), work)


def test_package_without_modules_is_refused(tmp_path, make_deb, make_bzimage, work):
    deb = make_deb(tmp_path / "binary.deb", {f"boot/vmlinuz-{RELEASE}": make_bzimage()})
    with pytest.raises(KernelNotFound, match="no kvm-intel module"):
        kernel_pieces.from_debs((deb,), work)


def test_packages_of_different_kernels_are_refused(
    tmp_path, make_deb, make_bzimage, kernel_files, work
):
    binary = make_deb(tmp_path / "binary.deb", {"boot/vmlinuz-x": make_bzimage("7.0.0-x")})
    files = kernel_files(RELEASE, "lib/modules", packed=True)
    modules = make_deb(tmp_path / "modules.deb", files)
    with pytest.raises(UsageError, match=r"'6\.12\.1-test'.*'7\.0\.0-x'"):
        kernel_pieces.from_debs((binary, modules), work)


def test_kvm_built_into_a_packaged_kernel_is_accepted(tmp_path, make_deb, make_bzimage, work):
    folder = f"lib/modules/{RELEASE}"
    files = {
        f"boot/vmlinuz-{RELEASE}": make_bzimage(),
        f"{folder}/modules.builtin": b"kernel/fs/x.ko\nkernel/arch/x86/kvm/kvm-intel.ko\n",
    }
    assert kernel_pieces.from_debs((make_deb(tmp_path / "k.deb", files),), work).modules == ()


def test_build_tree_gives_kernel_and_modules(build_tree, work):
    image = kernel_pieces.boot_image_of(build_tree)
    pieces = kernel_pieces.from_tree(image, build_tree, work)
    assert names(pieces) == ["irqbypass.ko", "kvm.ko", "kvm-intel.ko"]
    assert all(path.parent == work for path in (pieces.vmlinuz, *pieces.modules))


def test_build_tree_is_found_from_its_image(build_tree):
    assert kernel_pieces.tree_of(build_tree / "arch/x86/boot/bzImage") == build_tree


def test_image_elsewhere_needs_the_modules_named(tmp_path, make_bzimage):
    (tmp_path / "bzImage").write_bytes(make_bzimage())
    with pytest.raises(UsageError, match=r"with --modules$"):
        kernel_pieces.tree_of(tmp_path / "bzImage")


def test_modules_of_another_build_are_refused(build_tree, tmp_path, make_bzimage, work):
    (tmp_path / "bzImage").write_bytes(make_bzimage("6.13.0-other"))
    with pytest.raises(UsageError, match=r"'6\.12\.1-test'.*'6\.13\.0-other'"):
        kernel_pieces.from_tree(tmp_path / "bzImage", build_tree, work)


def test_compressed_modules_are_found_anywhere_below(tmp_path, make_bzimage, make_module, work):
    tree = tmp_path / "tree"
    write(
        tree,
        {
            "extra/kvm-intel.ko.xz": lzma.compress(make_module("kvm_intel", ["kvm"], RELEASE)),
            "updates/dkms/kvm.ko": make_module("kvm", [], RELEASE),
        },
    )
    (tmp_path / "bzImage").write_bytes(make_bzimage(RELEASE))
    pieces = kernel_pieces.from_tree(tmp_path / "bzImage", tree, work)
    assert names(pieces) == ["kvm.ko", "kvm-intel.ko"]


def test_modules_of_the_right_release_are_chosen_among_several(
    tmp_path, make_bzimage, kernel_files, work
):
    for release in ("1.0-a", RELEASE, "9.0-z"):
        write(tmp_path / "staging", kernel_files(release, "lib/modules", packed=False))
    (tmp_path / "bzImage").write_bytes(make_bzimage(RELEASE))
    pieces = kernel_pieces.from_tree(tmp_path / "bzImage", tmp_path / "staging", work)
    assert len(pieces.modules) == 3


def test_kvm_built_into_a_tree_is_accepted(build_tree, work):
    for module in build_tree.rglob("*.ko"):
        module.unlink()
    (build_tree / "modules.builtin").write_text("kernel/arch/x86/kvm/kvm-intel.ko\n")
    image = build_tree / "arch/x86/boot/bzImage"
    assert kernel_pieces.from_tree(image, build_tree, work).modules == ()


def test_missing_modules_directory_is_refused(build_tree, work, tmp_path):
    with pytest.raises(UsageError, match="no such directory"):
        kernel_pieces.from_tree(build_tree / "arch/x86/boot/bzImage", tmp_path / "none", work)


def test_tree_that_was_not_built_is_refused(tmp_path):
    with pytest.raises(UsageError, match="not a kernel build tree"):
        kernel_pieces.boot_image_of(tmp_path)


def test_newest_installed_kernel_is_chosen(tmp_path, kernel_files, make_bzimage):
    for release in ("6.9.1-a", "6.12.1-a"):
        write(tmp_path, kernel_files(release, "lib/modules", packed=False))
        write(tmp_path, {f"boot/vmlinuz-{release}": make_bzimage(release)})
    image, tree = kernel_pieces.installed(tmp_path)
    assert (image.name, tree.name) == ("vmlinuz-6.12.1-a", "6.12.1-a")


def test_installed_kernel_beside_its_modules_is_found(tmp_path, kernel_files, make_bzimage):
    write(tmp_path, kernel_files(RELEASE, "usr/lib/modules", packed=False))
    write(tmp_path, {f"usr/lib/modules/{RELEASE}/vmlinuz": make_bzimage()})
    assert kernel_pieces.installed(tmp_path)[0] == tmp_path / f"usr/lib/modules/{RELEASE}/vmlinuz"


def test_no_installed_kernel_is_an_error(tmp_path):
    with pytest.raises(KernelNotFound, match="no installed kernel"):
        kernel_pieces.installed(tmp_path)


@contextmanager
def without_privileges():
    """Root may read everything; nobody may not.  The saved user id lets root come back."""
    if os.geteuid() != 0:
        yield
        return
    nobody = pwd.getpwnam("nobody").pw_uid
    os.setresuid(nobody, nobody, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


def test_unreadable_installed_kernel_is_an_error(kernel_files, make_bzimage):
    # Not in tmp_path, whose parents only its owner may enter.
    with TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        write(root, kernel_files(RELEASE, "lib/modules", packed=False))
        write(root, {f"boot/vmlinuz-{RELEASE}": make_bzimage()})
        (root / f"boot/vmlinuz-{RELEASE}").chmod(0)
        with (
            without_privileges(),
            pytest.raises(UsageError, match="permission denied; copy it as root"),
        ):
            kernel_pieces.installed(root)


def test_a_package_gives_what_a_disk_needs(tmp_path, make_deb, make_bzimage, make_module, work):
    folder = f"lib/modules/{RELEASE}"
    files = {
        f"boot/vmlinuz-{RELEASE}": make_bzimage(RELEASE),
        f"{folder}/modules.builtin": b"kernel/arch/x86/kvm/kvm-intel.ko\n",
        f"{folder}/kernel/fs/ext4/ext4.ko": make_module("ext4", ["jbd2"], RELEASE),
        f"{folder}/kernel/fs/jbd2/jbd2.ko": make_module("jbd2", [], RELEASE),
    }
    pieces = kernel_pieces.from_debs((make_deb(tmp_path / "k.deb", files),), work)
    assert [path.name for path in pieces.disk_modules] == ["jbd2.ko", "ext4.ko"]


def test_a_tree_gives_what_a_disk_needs_and_is_not_built_in(build_tree, make_module, work):
    write(
        build_tree,
        {
            "modules.builtin": b"kernel/drivers/ata/ata_piix.ko\nkernel/drivers/scsi/sd_mod.ko\n",
            "fs/ext4/ext4.ko": make_module("ext4", [], RELEASE),
            "drivers/ata/ata_piix.ko": make_module("ata_piix", [], "left over"),
        },
    )
    pieces = kernel_pieces.from_tree(build_tree / "arch/x86/boot/bzImage", build_tree, work)
    assert [path.name for path in pieces.disk_modules] == ["ext4.ko"]
