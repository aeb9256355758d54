import random
import shutil
import subprocess

import pytest

from kvmprobe.lab.packages import Package, pool_uri, scan, upstream, version_key

STANZA = b"""\
Package: linux-image-6.1.0-56-cloud-amd64
Source: linux-signed-amd64 (6.1.192+2)
Version: 6.1.192-2
Depends: kmod, linux-base (>= 4.3~)
Filename: pool/main/l/linux/a+b.deb
Size: 26713492
SHA256: 00FF
Description: Linux
 Version: 9.9 is not a field here

"""


def scanned(text, *prefixes):
    return tuple(scan(text, prefixes or ("linux-image-",), "bookworm", "http://mirror/debian/"))


def test_fields_of_a_stanza_are_read():
    assert scanned(b"Package: bash\nVersion: 5\n\n" + STANZA) == (
        Package(
            "linux-image-6.1.0-56-cloud-amd64",
            "6.1.192-2",
            26713492,
            "00ff",
            "pool/main/l/linux/a+b.deb",
            "kmod, linux-base (>= 4.3~)",
            "bookworm",
            "http://mirror/debian/",
        ),
    )


def test_last_stanza_needs_no_empty_line():
    assert len(scanned(STANZA.rstrip(b"\n"))) == 1


def test_other_names_are_skipped():
    assert scanned(STANZA, "linux-modules-") == ()


@pytest.mark.parametrize("missing", [b"Size", b"SHA256", b"Filename", b"Version"])
def test_stanza_that_cannot_be_fetched_safely_is_skipped(missing):
    assert scanned(STANZA.replace(b"\n" + missing + b":", b"\nX-" + missing + b":")) == ()


def test_plus_in_a_path_is_escaped():
    assert pool_uri("http://m/debian/", "pool/a+b_1~2.deb") == "http://m/debian/pool/a%2Bb_1~2.deb"


@pytest.mark.parametrize(
    ("version", "expected"),
    [("6.12.95-1~bpo12+1", "6.12.95"), ("1:7.2-3", "7.2"), ("7.2~rc1-1", "7.2~rc1")],
)
def test_upstream_part(version, expected):
    assert upstream(version) == expected


# deb-version(7): "~" sorts before everything, even the end of a part.
@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ("6.12.9", "6.12.43"),
        ("6.12.95-1~bpo12+1", "6.12.95-1"),
        ("6.12.90-1~bpo12+1", "6.12.90-2~bpo12+1"),
        ("7.2~rc1", "7.2"),
        ("7.2", "7.2.1"),
        ("1.0a", "1.0+"),
        ("1.0-1", "1.0-1a"),
        ("1.9", "1." + "1" * 5000),
        ("1.09", "1.10"),
    ],
)
def test_lower_version_sorts_first(lower, higher):
    assert version_key(lower) < version_key(higher)


@pytest.mark.skipif(not shutil.which("dpkg"), reason="needs dpkg to compare with")
def test_order_agrees_with_dpkg():
    chance = random.Random(20)
    parts = ["1", "2", "10", ".", "~", "+", "a", "b", "~rc", ".0", "+deb"]
    for _ in range(60):
        first, second = ("1" + "".join(chance.choices(parts, k=5)) + "-1" for _ in range(2))
        is_lower = version_key(first) < version_key(second)
        command = ["dpkg", "--compare-versions", first, "lt", second]
        assert is_lower == (subprocess.run(command, check=False).returncode == 0), (first, second)
