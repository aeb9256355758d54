"""``kvmprobe compat``."""

import json

import pytest

from kvmprobe.cli.main import main
from kvmprobe.errors import ExitCode
from tests.support.probed import changed, path_of


def compat(source, target, *words):
    return main(["compat", str(path_of(source)), str(path_of(target)), *map(str, words)])


def test_the_status_is_0_if_there_is_an_order_for_each_use(capsys):
    assert compat("6.12.95", "7.3.4") == ExitCode.OK
    assert "goes on in 17 of 23 orders" in capsys.readouterr().out


def test_the_status_is_1_if_there_is_none(capsys):
    assert compat("7.3.4", "7.3.4-no-amx") == ExitCode.DIVERGED
    out = capsys.readouterr().out
    assert (
        "refused  KVM_SET_CPUID2 fails with EPERM (1) for XSTATE components 0x40000 (XTILE_DATA): "
        "the target lacks it"
    ) in out
    assert "guest with what both hosts support: goes on in 17 of 23 orders" in out


def test_an_order_that_is_named_decides():
    assert compat("6.12.95", "7.3.4", "--order", "qemu-full") == ExitCode.OK
    both = ("--order", "qemu-full", "--order", "firecracker")
    assert compat("6.12.95", "7.3.4", *both) == ExitCode.DIVERGED


def test_an_order_can_be_a_file(tmp_path, capsys):
    order = tmp_path / "mine.toml"
    order.write_text(
        'program = "p"\nversion = "1"\nsource = "s"\n'
        'calls = ["cpuid", "sregs", "xcrs", "xsave", "other-msrs"]\n'
    )
    assert compat("7.3.4", "7.3.4", "--order", order) == ExitCode.DIVERGED
    assert "no call restores IA32_XFD" in capsys.readouterr().out


def test_an_unknown_order_is_refused_with_the_known_ones(capsys):
    assert compat("7.3.4", "7.3.4", "--order", "qmeu") == ExitCode.USAGE
    assert "--order qmeu: neither a file nor one of cloud-hypervisor," in capsys.readouterr().err


def test_the_known_defects_of_each_side_are_listed(capsys):
    compat("6.12.43", "6.12.95")
    out = capsys.readouterr().out
    assert (
        "  source   CVE-2026-23005 (B1), fixed in 6.1.162, 6.12.67, 6.18.9, 6.19: KVM_SET_XSAVE"
        in out
    )


def test_what_the_probes_did_not_determine_is_told(capsys):
    compat("7.3.4", "6.12.95")
    told = "not determined by the probes of the source, and taken as absent: VENDOR_OWNS_CR4"
    assert told in capsys.readouterr().out


def test_json_has_the_same(capsys):
    compat("7.3.4", "7.3.4-no-amx", "--order", "qemu-full", "--json")
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "kvmprobe-compat/1"
    assert not document["goes_on_in_some_order"]
    first = document["moves"][0]
    assert (first["order"], first["use"], first["cpuid"]) == ("qemu-full", "tiles", "source")
    [finding] = first["findings"]
    assert finding["pieces"] == [{"kind": "component", "number": 18}]
    assert (finding["call"], finding["errno"], finding["cause"]) == ("KVM_SET_CPUID2", 1, "target")
    assert document["shared"]["xcr0"] == 0x2E7


def test_convert_takes_the_template(tmp_path, capsys):
    template = tmp_path / "common.json"
    compat("7.3.4", "7.3.4-no-amx", "--template", template)
    capsys.readouterr()
    assert main(["convert", str(template)]) == ExitCode.OK
    assert "set-cpuid2-template" in capsys.readouterr().out


def test_a_template_that_cannot_be_written_is_refused(tmp_path, capsys):
    assert compat("7.3.4", "7.3.4", "--template", tmp_path / "no" / "x") == ExitCode.USAGE
    assert "No such file or directory" in capsys.readouterr().err


@pytest.mark.parametrize("place", [0, 1])
def test_contradictory_facts_are_refused_before_anything_is_computed(place, tmp_path, capsys):
    bad = changed("7.3.4", tmp_path, facts__cpu__xcr0=5)
    files = [str(path_of("7.3.4"))] * 2
    files[place] = str(bad)
    assert main(["compat", *files]) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"kvmprobe: {bad}: facts.cpu.xcr0: 0x5 (FP|YMM) is no legal XCR0" in captured.err
