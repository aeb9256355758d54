"""The functions of a kernel under test whose coverage is measured, read from it once.

A boot reads them; later they are in the cache.  The same kernel, modules, processors and emulator
have the same text; the kernel's own is at the same addresses, since it is entered without its
decompressor, which would move it.  Modules may lie elsewhere.  Whoever uses them compares the text
with that of the running machine.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from kvmprobe.coverage.functions import KernelFunctions
from kvmprobe.coverage.scope import SCOPE_FILE
from kvmprobe.errors import NoCoverage
from kvmprobe.lab import boot_image, initramfs, kernel_image
from kvmprobe.lab.cache import DAMAGE
from kvmprobe.lab.emulator_process import Boot
from kvmprobe.lab.machine import Machine
from kvmprobe.lab.machine_events import Output, ProgramExited, Stream
from kvmprobe.lab.python_closure import add_python
from kvmprobe.lab.variant_boot import command_line, naming, processors_of
from kvmprobe.results.host_variant import DEFAULT_HOST

if TYPE_CHECKING:
    from kvmprobe.lab.cache import Cache
    from kvmprobe.lab.emulator import Emulator
    from kvmprobe.lab.kernel_store import Kernel
    from kvmprobe.progress import Progress
    from kvmprobe.results.host_variant import HostVariant

_READER = "kvmprobe.coverage.running_kernel"
_SILENCE_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class KernelReader:
    """Reads the functions of kernels on the emulated host.

    :ivar variant: of the machines whose coverage is wanted: Linux patches its text by it
    """

    cache: Cache
    emulator: Emulator
    variant: HostVariant = DEFAULT_HOST

    def functions(self, kernel: Kernel, progress: Progress) -> KernelFunctions:
        """Return the functions in scope of ``kernel``.

        :raises NoCoverage: the kernel hides its symbols or its text
        :raises BootFailed: it does not boot
        """
        file = self.cache.folder("functions") / f"{self._key(kernel)}.json"
        try:
            return KernelFunctions.from_json(json.loads(file.read_bytes()))
        except DAMAGE:
            pass
        with self.cache.locked(f"functions of {kernel.label}", progress):
            progress.stage(f"emulated host {kernel.label}: read its functions, only once")
            found = self._read(kernel)
            with self.cache.scratch() as work:
                fresh = work / file.name
                fresh.write_text(json.dumps(found.to_json()), encoding="ascii")
                self.cache.publish(fresh, file)
        return found

    @property
    def _arguments(self) -> str:
        return command_line(boot_image.DEFAULT_ARGUMENTS, self.variant)

    def _key(self, kernel: Kernel) -> str:
        state = hashlib.sha256(repr((self.variant, self._arguments)).encode())
        inputs = (kernel.vmlinuz, *kernel.modules, self.emulator.bochs, self.emulator.init)
        for content in (each.read_bytes() for each in (SCOPE_FILE, *inputs)):
            state.update(hashlib.sha256(content).digest())
        return state.hexdigest()[:32]

    def _read(self, kernel: Kernel) -> KernelFunctions:
        tree = initramfs.FileTree()
        python = add_python(tree, _READER, self.cache.folder("pycache"))
        tree.add(SCOPE_FILE)
        payload = initramfs.Payload(
            tree, python.command, initramfs.Mode.EXEC, {**python.environment}
        )
        packed = initramfs.build(payload, kernel.modules, self.emulator.init.read_bytes())
        image = boot_image.build(
            kernel_image.read(kernel.vmlinuz),
            packed,
            boot_image.MEMORY_MIB,
            self._arguments,
            processors_of(self.variant),
        )
        written = {Stream.STDOUT: bytearray(), Stream.STDERR: bytearray()}
        status = None
        with naming(self.variant), Machine.boot(self.emulator, Boot(image)) as machine:
            for event in machine.events(_SILENCE_SECONDS):
                if isinstance(event, Output):
                    written[event.stream] += event.content
                elif isinstance(event, ProgramExited):
                    status = event.status
            modules = machine.modules
        if status != 0:
            reason = written[Stream.STDERR].decode(errors="replace").strip()
            raise NoCoverage(f"kernel {kernel.label}: {reason or 'its functions cannot be read'}")
        found = KernelFunctions.from_json(json.loads(written[Stream.STDOUT]))
        return replace(found, modules=modules)
