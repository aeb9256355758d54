import os
import shutil
import subprocess
import sys

import pytest

from kvmprobe.errors import UsageError
from kvmprobe.lab.initramfs import FileTree
from kvmprobe.lab.python_closure import add_python

MODULE = "kvmprobe_closure_example"


@pytest.fixture
def module(tmp_path, monkeypatch):
    folder = tmp_path / "modules"
    folder.mkdir()
    source = folder / f"{MODULE}.py"
    source.write_text(
        "import json\nprint('imported')\nif __name__ == '__main__':\n    print(json.dumps(7))\n"
    )
    monkeypatch.syspath_prepend(folder)
    return source


def unpacked(tree, root):
    """Write the tree below root, as the kernel would unpack it, for chroot-less checks."""
    for guest, node in sorted(tree._nodes.items()):
        place = root / guest.lstrip("/")
        if node.mode & 0o170000 == 0o040000:
            place.mkdir(parents=True, exist_ok=True)
        elif node.mode & 0o170000 == 0o120000:
            place.symlink_to(node.content.decode())
        else:
            place.write_bytes(node.content)
            place.chmod(node.mode & 0o7777)
            os.utime(place, (node.modified, node.modified))


def test_the_files_are_complete(module, tmp_path):
    """The program runs in a chroot that holds nothing else."""
    tree = FileTree()
    program = add_python(tree, MODULE, tmp_path / "pycache")
    root = tmp_path / "root"
    unpacked(tree, root)
    chroot = shutil.which("chroot", path="/usr/sbin:/usr/bin")
    if os.geteuid() != 0 or chroot is None:
        pytest.skip("needs chroot and root")
    done = subprocess.run(
        [chroot, root, *program.command],
        env=program.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("imported\n7\n", "", 0)


def test_the_guest_compiles_nothing(module, tmp_path):
    tree = FileTree()
    program = add_python(tree, MODULE, tmp_path / "pycache")
    prefix = program.environment["PYTHONPYCACHEPREFIX"]
    tag = sys.implementation.cache_tag
    compiled = f"{prefix}{module.parent}/{MODULE}.{tag}.pyc"
    assert compiled in tree
    # A .pyc names its source's time and size (importlib: "_validate_timestamp_pyc").
    content = tree._nodes[compiled].content
    assert int.from_bytes(content[8:12], "little") == tree._nodes[str(module)].modified
    assert int.from_bytes(content[12:16], "little") == len(tree._nodes[str(module)].content)


def test_nothing_is_written_beside_the_sources(module, tmp_path):
    add_python(FileTree(), MODULE, tmp_path / "pycache")
    assert list(module.parent.iterdir()) == [module]


def test_a_module_that_cannot_be_imported_is_quoted(tmp_path):
    with pytest.raises(UsageError, match="No module named 'no_such_module_here'"):
        add_python(FileTree(), "no_such_module_here", tmp_path)


def test_a_package_of_that_name_in_the_working_directory_is_not_taken(
    tmp_path, module, monkeypatch
):
    here = tmp_path / "here"
    here.mkdir()
    (here / module.name).write_text("raise SystemExit('the wrong one')\n")
    monkeypatch.chdir(here)
    tree = FileTree()
    add_python(tree, MODULE, tmp_path / "pycache")
    assert str(module) in tree


@pytest.mark.parametrize("damage", [b"", b"\0"])
def test_compiled_code_that_is_damaged_is_made_again(module, tmp_path, damage):
    pycache = tmp_path / "pycache"
    add_python(FileTree(), MODULE, pycache)
    (compiled,) = pycache.rglob("json/__init__*.pyc")
    # Python looks at the first 16 bytes: magic number, and time and size of the source.
    compiled.write_bytes(compiled.read_bytes()[:16] + damage)
    add_python(FileTree(), MODULE, pycache)
    assert len(compiled.read_bytes()) > 17
