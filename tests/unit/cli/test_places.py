"""Which host the command line chooses."""

import pytest

from kvmprobe.cli.grammar.parser import parser
from kvmprobe.cli.main import main
from kvmprobe.cli.places import is_emulated, variant_of
from kvmprobe.errors import ExitCode
from kvmprobe.lab.cpu_profile import PROFILES
from kvmprobe.results.host_variant import HostVariant


def parsed(*argv):
    return parser(list(argv)).parse_args(argv)


def test_parameters_choose_the_emulated_host():
    assert is_emulated(parsed("run", "--append", "nopku"))


def test_a_processor_chooses_the_emulated_host():
    assert is_emulated(parsed("run", "--cpu", "no-amx"))


def test_two_processors_choose_the_emulated_host():
    assert is_emulated(parsed("run", "--cpus", "2"))


def test_an_unknown_processor_lists_the_known_ones(capsys):
    with pytest.raises(SystemExit):
        main(["run", "--cpu", "i386"])
    message = capsys.readouterr().err
    assert [name for name in PROFILES if name not in message] == []


def test_without_options_this_host_comes_first():
    assert not is_emulated(parsed("run"))


def test_parameters_may_be_given_in_one_word_or_in_several():
    both = [
        variant_of(parsed("run", "--append", "nopku noxsaves")),
        variant_of(parsed("run", "--append", "nopku", "--append", "noxsaves")),
    ]
    assert both == [HostVariant("nopku noxsaves")] * 2


@pytest.mark.parametrize("command", ["run", "probe", "replay"])
def test_parameters_exclude_this_host(command, capsys, tmp_path):
    file = [str(tmp_path)] if command == "replay" else []
    assert main([command, "--target", "host", "--append", "nopku", *file]) == ExitCode.USAGE
    assert "--append nopku: only for the emulated host" in capsys.readouterr().err


@pytest.mark.parametrize("options", [[], ["--target", "host", "--verify"]])
def test_a_reproducer_has_parameters_where_it_is_verified_on_the_emulated_host(options, capsys):
    command = ["repro", "--append", "nopku", "--output", "-", *options, "xcrs.single.cpuid"]
    assert main(command) == ExitCode.USAGE
    assert "--append nopku: only to verify on the emulated host" in capsys.readouterr().err


def test_parameters_that_a_command_line_cannot_hold_are_refused(capsys):
    assert main(["run", "--append", "a\nb"]) == ExitCode.USAGE
    assert "--append: kernel parameters are printable ASCII characters" in capsys.readouterr().err
