"""A made-up /proc and /sys below a folder."""

from __future__ import annotations

from kvmprobe.host.files import HostFiles


class HostTree:
    """Files by their names on the host; ``files`` is what the code under test gets."""

    def __init__(self, root):
        self.files = HostFiles(root)

    def put(self, name, content=""):
        path = self.files.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def process(self, pid, name, descriptors=()):
        """Add a process with what its descriptors point to."""
        self.put(f"/proc/{pid}/comm", f"{name}\n")
        folder = self.files.path(f"/proc/{pid}/fd")
        folder.mkdir()
        for number, target in enumerate(descriptors):
            (folder / str(number)).symlink_to(target)
