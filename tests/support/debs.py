"""Small Debian packages."""

from __future__ import annotations

import io
import tarfile

import zstandard


def build_deb(path, files, compression="xz"):
    """Write a package with these files, contents by path; return its path."""
    packed = io.BytesIO()
    mode = "w" if compression in ("", "zst") else f"w:{compression}"
    with tarfile.open(fileobj=packed, mode=mode) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    body = packed.getvalue()
    if compression == "zst":
        body = zstandard.compress(body)
    suffix = f".{compression}" if compression else ""
    members = (("debian-binary", b"2.0\n"), ("control.tar", b"odd"), (f"data.tar{suffix}", body))
    with path.open("wb") as file:
        file.write(b"!<arch>\n")
        for name, content in members:
            head = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n"
            file.write(head.encode() + content + b"\n" * (len(content) % 2))
    return path
