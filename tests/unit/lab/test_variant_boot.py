import pytest

from kvmprobe.errors import BootFailed, EmulatorKilled
from kvmprobe.lab.variant_boot import command_line, naming
from kvmprobe.results.host_variant import HostVariant

NOPKU = HostVariant("nopku")


def failing(variant, error):
    with naming(variant):
        raise error


def test_the_parameters_are_the_last_ones():
    assert command_line("console=ttyS0 quiet", NOPKU) == "console=ttyS0 quiet nopku"


def test_the_default_host_has_the_default_command_line():
    assert command_line("console=ttyS0 quiet", HostVariant()) == "console=ttyS0 quiet"


def test_a_boot_that_fails_names_the_options_and_keeps_the_console():
    with pytest.raises(BootFailed, match=r"^it hung; it was booted with --append nopku$") as caught:
        failing(NOPKU, BootFailed("it hung", ("last line",)))
    assert caught.value.last_lines == ("last line",)


def test_the_default_host_has_no_options_to_name():
    with pytest.raises(BootFailed, match=r"^it hung$"):
        failing(HostVariant(), BootFailed("it hung", ()))


def test_who_kills_the_emulator_is_not_the_kernels_parameters():
    with pytest.raises(EmulatorKilled, match=r"^killed$"):
        failing(NOPKU, EmulatorKilled("killed", ()))
