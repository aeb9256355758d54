"""Builders of small packages, modules, kernel images and signed archives."""

from __future__ import annotations

import hashlib
import lzma
import os
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import pytest

from kvmprobe.lab.cache import Cache
from kvmprobe.lab.sources import Source
from tests.support.debs import build_deb


class Listener:
    """A Progress that remembers the stages."""

    def __init__(self):
        self.stages = []

    def stage(self, text):
        self.stages.append(text)

    def advance(self, done, total):
        pass


@pytest.fixture
def listener():
    return Listener()


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


def build_module(name, depends=(), release="6.12.1-test", sections=(), wants=()):
    info = f"depends={','.join(depends)}\0name={name}\0vermagic={release} SMP mod_unload \0"
    info += "".join(f"softdep={text}\0" for text in wants)
    bodies = [b"", info.encode(), *(b"x" * 100 for _ in sections)]
    names = ["", ".modinfo", *sections, ".shstrtab"]
    table = b"\0".join(part.encode() for part in names) + b"\0"
    bodies.append(table)
    offset, blob, rows = 64, b"", []
    for part, body in zip(names, bodies, strict=True):
        at = table.index(b"\0" + part.encode() + b"\0") + 1 if part else 0
        rows.append(struct.pack("<IIQQQQIIQQ", at, 1, 0, 0, offset, len(body), 0, 0, 1, 0))
        offset += len(body)
        blob += body
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    count = len(rows)
    head = struct.pack(
        "<16sHHIQQQIHHHHHH", ident, 1, 62, 1, 0, 0, offset, 0, 64, 0, 0, 64, count, count - 1
    )
    return head + blob + b"".join(rows)


def build_bzimage(release="6.12.1-test", remark="(me@here) #1 SMP"):
    image = bytearray(0x1000)
    image[0x202:0x206] = b"HdrS"
    image[0x20E:0x210] = (0x400).to_bytes(2, "little")
    text = f"{release} {remark}".encode() + b"\0"
    image[0x600 : 0x600 + len(text)] = text
    return bytes(image)


@pytest.fixture(scope="session")
def make_deb():
    return build_deb


@pytest.fixture(scope="session")
def make_module():
    return build_module


@pytest.fixture(scope="session")
def make_bzimage():
    return build_bzimage


@lru_cache
def kvm_files(release, folder, packed):
    """Return the three module files of a kernel, as a package holds them below ``folder``."""
    wanted = (
        ("arch/x86/kvm/kvm-amd.ko", "kvm_amd", ("kvm",)),
        ("arch/x86/kvm/kvm-intel.ko", "kvm_intel", ("kvm",)),
        ("arch/x86/kvm/kvm.ko", "kvm", ("irqbypass",)),
        ("virt/lib/irqbypass.ko", "irqbypass", ()),
    )
    files = {}
    for path, name, depends in wanted:
        content = build_module(name, depends, release)
        suffix = ".xz" if packed else ""
        whole = f"{folder}/{release}/kernel/{path}{suffix}"
        files[whole] = lzma.compress(content) if packed else content
    return files


@pytest.fixture
def kernel_deb(tmp_path):
    """Return a function that makes a linux-image package as Debian does up to 6.17."""

    def make(release="6.12.1-test", name="kernel.deb", remark="(me@here) #1", padding=0):
        files = {f"boot/vmlinuz-{release}": build_bzimage(release, remark)}
        files |= {f"boot/padding-{release}": os.urandom(padding)} if padding else {}
        files |= kvm_files(release, "lib/modules", packed=True)
        return build_deb(tmp_path / name, files, "" if padding else "xz")

    return make


@pytest.fixture
def kernel_files():
    return kvm_files


@dataclass
class Signer:
    """A throw-away key pair."""

    home: Path
    keyring: Path

    def clearsign(self, text):
        return self._gpg("--clearsign", text.encode())

    def _gpg(self, *arguments):
        *options, given = arguments
        command = ["gpg", "--homedir", self.home, "--batch", "--quiet", "--pinentry-mode"]
        command += ["loopback", "--passphrase", "", *options]
        return subprocess.run(command, input=given, capture_output=True, check=True).stdout


@pytest.fixture(scope="session")
def signer():
    """Return a signer; its folder is near the root because sockets have short paths."""
    if not shutil.which("gpg") or not shutil.which("apt-get"):
        pytest.skip("needs gpg and apt-get")
    home = Path(tempfile.mkdtemp(prefix="kp-gpg-", dir="/tmp"))
    keys = Signer(home, home / "keyring.gpg")
    try:
        keys._gpg("--quick-generate-key", "test <test@invalid>", "ed25519", "sign", "never", b"")
        keys.keyring.write_bytes(keys._gpg("--export", b""))
        home.chmod(0o755)
        yield keys
    finally:
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)
        shutil.rmtree(home, ignore_errors=True)


@dataclass
class Repository:
    """A signed archive in a folder."""

    root: Path
    signer: Signer
    packages: dict = field(default_factory=dict)

    @property
    def uri(self):
        return f"file:{self.root}/"

    def source(self, *suites):
        return Source(self.uri, suites or ("stable",), str(self.signer.keyring))

    def add(self, deb, package, version, suite="stable", **fields):
        pool = self.root / "pool" / f"{package}_{version}_amd64.deb"
        pool.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(deb, pool)
        content = pool.read_bytes()
        stanza = {
            "Package": package,
            "Version": version,
            "Architecture": "amd64",
            "Maintainer": "test <test@invalid>",
            "Filename": f"pool/{pool.name}",
            "Size": len(content),
            "SHA256": hashlib.sha256(content).hexdigest(),
            "Description": "test",
            **fields,
        }
        text = "".join(f"{key}: {value}\n" for key, value in stanza.items())
        self.packages.setdefault(suite, []).append(text)
        self.write(suite)
        return pool

    def write(self, suite):
        folder = self.root / "dists" / suite
        index = folder / "main/binary-amd64/Packages"
        index.parent.mkdir(parents=True, exist_ok=True)
        index.write_text("\n".join(self.packages[suite]))
        packed = index.with_name("Packages.xz")
        packed.write_bytes(lzma.compress(index.read_bytes()))
        lines = [
            f" {hashlib.sha256(file.read_bytes()).hexdigest()} {file.stat().st_size} "
            f"main/binary-amd64/{file.name}"
            for file in (index, packed)
        ]
        head = f"Origin: Test\nSuite: {suite}\nCodename: {suite}\nArchitectures: amd64\n"
        dated = "Components: main\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n"
        release = head + dated + "\n".join(lines) + "\n"
        (folder / "InRelease").write_bytes(self.signer.clearsign(release))
        index.unlink()


@pytest.fixture
def repository(tmp_path, signer):
    return Repository(tmp_path / "repository", signer)
