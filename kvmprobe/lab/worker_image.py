"""What boots on the emulated host: the kernel under test with the worker."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from kvmprobe.build_inputs import check_parts
from kvmprobe.execution.worker import PORT, TRANSPORT_VARIABLE
from kvmprobe.lab import boot_image, initramfs, kernel_image
from kvmprobe.lab.python_closure import add_python
from kvmprobe.lab.variant_boot import command_line, processors_of
from kvmprobe.results.host_variant import DEFAULT_HOST

if TYPE_CHECKING:
    from kvmprobe.lab.boot_image import BootImage
    from kvmprobe.lab.cache import Cache
    from kvmprobe.lab.emulator import Emulator
    from kvmprobe.lab.kernel_store import Kernel
    from kvmprobe.results.host_variant import HostVariant

_WORKER, _WORKER_IMPORTS = "kvmprobe.execution.worker", ("kvmprobe.execution.facts",)


class WorkerImage:
    """The boot image of one kernel, which is made again if it is wanted after it was dropped."""

    def __init__(
        self,
        kernel: Kernel,
        emulator: Emulator,
        cache: Cache,
        variant: HostVariant = DEFAULT_HOST,
    ) -> None:
        self._kernel = kernel
        self._variant = variant
        self._emulator = emulator
        self._cache = cache
        self._made: BootImage | None = None

    def get(self) -> BootImage:
        """Return it."""
        if self._made is None:
            self._made = self._make()
        return self._made

    def drop(self) -> None:
        """Free its memory, 80 MB or more: a machine has started, and rarely another one boots."""
        self._made = None

    def _make(self) -> BootImage:
        # The guest has compiled parts without their sources, and cannot check them.
        check_parts()
        files = initramfs.FileTree()
        pycache = self._cache.folder("pycache")
        # Decompressing the kernel takes as long as the interpreter that lists the files.
        with ThreadPoolExecutor(1) as pool:
            kernel = pool.submit(kernel_image.read, self._kernel.vmlinuz)
            python = add_python(files, _WORKER, pycache, also=_WORKER_IMPORTS)
        payload = initramfs.Payload(
            files,
            python.command,
            initramfs.Mode.WORKER,
            {**python.environment, TRANSPORT_VARIABLE: PORT},
        )
        init = self._emulator.init.read_bytes()
        return boot_image.build(
            kernel.result(),
            initramfs.build(payload, self._kernel.modules, init),
            boot_image.MEMORY_MIB,
            command_line(boot_image.WORKER_ARGUMENTS, self._variant),
            processors_of(self._variant),
        )
