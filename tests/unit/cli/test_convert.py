"""``kvmprobe convert``."""

import json

import pytest

from kvmprobe.cli.main import main
from kvmprobe.errors import ExitCode
from kvmprobe.scenarios.document import from_document
from kvmprobe.scenarios.presets import read_preset
from tests.support.attached import DUMP, FOLDER
from tests.support.recorded_scenarios import recorded
from tests.support.recordings import of_program

TEMPLATES = ("template-avx2.json", "template-no-amx.json")


@pytest.mark.parametrize("files", [*((name,) for name in TEMPLATES), DUMP], ids=lambda f: f[0])
def test_the_examples_become_documents(files, tmp_path):
    output = tmp_path / "scenario.json"
    assert main(["convert", *(str(FOLDER / f) for f in files), "-o", str(output)]) == ExitCode.OK
    name = files[0].rpartition(".")[0]
    assert from_document(output.read_bytes()).id == f"attached.{name}"


def test_without_output_the_document_is_printed(capsys):
    assert main(["convert", str(FOLDER / TEMPLATES[0])]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["schema"] == "kvmprobe-scenario/2"


def test_what_is_left_out_is_reported(capsys):
    assert main(["convert", str(FOLDER / TEMPLATES[1])]) == ExitCode.OK
    assert (
        "template-no-amx.json: $.msr_modifiers[2]: MSR 0x48 is not set" in capsys.readouterr().err
    )


def test_explain_takes_the_document(tmp_path, capsys):
    output = tmp_path / "scenario.json"
    main(["convert", *(str(FOLDER / name) for name in DUMP), "-o", str(output)])
    assert main(["explain", str(output)]) == ExitCode.OK
    assert "KVM_SET_CPUID2(9 literal entries) -> returns 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"cpuid_modifiers": 1}', "bad: $.cpuid_modifiers: expected a list, found the number 1"),
        (b"CPU 0:\nx\n", "bad: line 2: expected"),
        (bytes(100), "bad: size: expected 312 (struct kvm_sregs)"),
        (b"\xff", "bad: byte 0: expected UTF-8, found 0xff"),
    ],
)
def test_a_bad_file_is_refused_with_its_place(content, message, tmp_path, capsys):
    bad, output = tmp_path / "bad", tmp_path / "scenario.json"
    bad.write_bytes(content)
    good = str(FOLDER / TEMPLATES[0])
    assert main(["convert", good, str(bad), "-o", str(output)]) == ExitCode.USAGE
    assert message in capsys.readouterr().err
    assert not output.exists()


def test_a_file_that_cannot_be_read_is_refused(tmp_path, capsys):
    assert main(["convert", str(tmp_path / "none")]) == ExitCode.USAGE
    assert "none: No such file or directory" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_refused(tmp_path, capsys):
    arguments = ["convert", str(FOLDER / TEMPLATES[0]), "-o", str(tmp_path)]
    assert main(arguments) == ExitCode.USAGE
    assert "Is a directory" in capsys.readouterr().err


def test_a_recording_becomes_an_order_that_run_takes(tmp_path, capsys):
    path = recorded("7.3.4", "vmm.kselftest.no-tiles", tmp_path / "r.jsonl")
    output = tmp_path / "my-vmm.toml"
    assert main(["convert", str(path), "-o", str(output)]) == ExitCode.OK
    preset = read_preset(output)
    assert preset.program == "vmm"
    assert preset.tokens[:4] == ("cpuid", "sregs", "msrs", "xcrs")
    assert capsys.readouterr().err == ""


def test_what_an_order_cannot_have_is_reported(tmp_path, capsys):
    path = of_program("qemu-7.2-restore-7.3.4", tmp_path)
    assert main(["convert", str(path)]) == ExitCode.OK
    left = "KVM_SET_NESTED_STATE on vcpu0 is not in the order (3 calls): no word of a preset means"
    assert left in capsys.readouterr().err


def test_a_recording_is_converted_alone(tmp_path, capsys):
    path = recorded("7.3.4", "vmm.kselftest.no-tiles", tmp_path / "r.jsonl")
    assert main(["convert", str(path), str(FOLDER / TEMPLATES[0])]) == ExitCode.USAGE
    assert f"{path} is a recording; give it alone" in capsys.readouterr().err


def test_a_recording_without_a_restore_is_refused(tmp_path, capsys):
    path = recorded("7.3.4", "vmm.kselftest.no-tiles", tmp_path / "r.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:3]))
    assert main(["convert", str(path)]) == ExitCode.USAGE
    assert f"{path}: no call in it restores a vCPU" in capsys.readouterr().err


def test_a_file_that_is_nested_deeply_is_refused(tmp_path, capsys):
    file = tmp_path / "deep.json"
    file.write_text("[" * 4096)
    assert main(["convert", str(file)]) == ExitCode.USAGE
    assert f"{file}: " in capsys.readouterr().err
