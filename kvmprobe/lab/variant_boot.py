"""Booting a variant of the emulated host: command line, processors, the message of a failure."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from kvmprobe.errors import BootFailed, EmulatorKilled
from kvmprobe.lab.bochs_config import Processors
from kvmprobe.lab.cpu_profile import profile_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kvmprobe.results.host_variant import HostVariant


def command_line(arguments: str, variant: HostVariant) -> str:
    """Return the kernel command line; of a parameter that is given twice, the kernel uses the last.

    :param arguments: those of the default host
    """
    return f"{arguments} {variant.append}".rstrip()


def processors_of(variant: HostVariant) -> Processors:
    """Return the processors of a variant."""
    return Processors(variant.processors, profile_of(variant))


@contextlib.contextmanager
def naming(variant: HostVariant) -> Iterator[None]:
    """Add the variant to the message of a boot that fails.

    :raises BootFailed: the same with the variant's options
    """
    try:
        yield
    except EmulatorKilled:
        raise
    except BootFailed as error:
        if not variant.options:
            raise
        message = f"{error}; it was booted with {variant.options}"
        raise BootFailed(message, error.last_lines) from error
