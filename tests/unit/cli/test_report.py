"""``kvmprobe report`` and ``kvmprobe diff`` on files."""

import json

import pytest

from kvmprobe.cli.main import main
from kvmprobe.errors import ExitCode
from kvmprobe.reports.formats import format_of, names
from kvmprobe.results.schema import LINES
from tests.support.runs import (
    EVERY,
    INTERRUPTED,
    NEW,
    cuts,
    diverged,
    passed,
    run_of_records,
    written,
)

FORMATS = names()


@pytest.fixture
def every(tmp_path):
    return str(written(tmp_path / "run.json", EVERY))


@pytest.fixture
def before(tmp_path):
    return str(written(tmp_path / "before.json", run_of_records(diverged("restore.a"))))


@pytest.fixture
def after(tmp_path):
    return str(written(tmp_path / "after.json", run_of_records(passed("restore.a", NEW))))


@pytest.mark.parametrize("name", FORMATS)
def test_a_report_goes_to_standard_output(name, every, capsysbinary):
    assert main(["report", every, "--format", name, "--output", "-"]) == ExitCode.OK
    assert capsysbinary.readouterr().out.decode() == format_of(name).render([EVERY])


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "html"])
def test_formats_for_programs_go_to_standard_output_unless_told_otherwise(
    name, every, capsysbinary
):
    assert main(["report", every, "--format", name]) == ExitCode.OK
    assert capsysbinary.readouterr().out.decode() == format_of(name).render([EVERY])


def test_a_report_is_a_page_in_a_new_file_unless_told_otherwise(
    every, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert main(["report", every]) == ExitCode.OK
    assert (tmp_path / "report.html").read_text() == format_of("html").render([EVERY])
    assert capsys.readouterr() == ("", "kvmprobe: written to report.html\n")


def test_a_page_that_was_not_named_overwrites_nothing(every, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "report.html").write_text("mine")
    assert main(["report", every]) == ExitCode.USAGE
    assert (tmp_path / "report.html").read_text() == "mine"
    assert "report.html exists; name another file with --output" in capsys.readouterr().err


@pytest.mark.parametrize("name", FORMATS)
def test_a_report_goes_to_a_file(name, every, tmp_path, capsys):
    target = tmp_path / "report"
    assert main(["report", every, "--format", name, "--output", str(target)]) == ExitCode.OK
    assert target.read_text() == format_of(name).render([EVERY])
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("name", FORMATS)
def test_a_run_that_was_cut_makes_every_report(name, every, tmp_path, capsysbinary):
    path = tmp_path / "cut.json"
    for cut in cuts((tmp_path / "run.json").read_bytes()):
        path.write_bytes(cut)
        assert main(["report", str(path), "--format", name, "--output", "-"]) == ExitCode.OK
        assert b"cut short" in capsysbinary.readouterr().err


def test_several_runs_make_one_report(before, after, capsys):
    main(["report", before, after, "--format", "kcidb"])
    assert len(json.loads(capsys.readouterr().out)["builds"]) == 2


@pytest.mark.parametrize(
    ("run", "style", "status"),
    [
        (EVERY, "default", ExitCode.TOOL_BUG),
        (run_of_records(passed("restore.a")), "kselftest", 0),
        (run_of_records(diverged("restore.a")), "kselftest", 1),
        (run_of_records(diverged("restore.a")), "always0", 0),
        (run_of_records(), "kselftest", 4),
        (run_of_records(passed("a.b"), ending=INTERRUPTED.ending), "bisect", 125),
        (run_of_records(diverged("a.b"), ending=INTERRUPTED.ending), "bisect", 1),
    ],
)
def test_an_exit_style_asks_for_the_runs_own_status(run, style, status, tmp_path, capsysbinary):
    path = written(tmp_path / "run.json", run)
    assert main(["report", str(path), "--format", "ktap", "--exit-style", style]) == status


def test_something_that_is_no_run_is_a_usage_error(tmp_path, capsys):
    path = tmp_path / "other"
    path.write_text("hello")
    assert main(["report", str(path), "--format", "ktap"]) == ExitCode.USAGE
    assert "schema kvmprobe-run/2 or kvmprobe-lines/2" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_a_usage_error(every, capsys):
    arguments = ["report", every, "--format", "ktap", "--output", "/no/such/place"]
    assert main(arguments) == ExitCode.USAGE
    assert "--output /no/such/place" in capsys.readouterr().err


def test_a_diff_without_regression_ends_with_0(before, after, capsys):
    assert main(["diff", before, after]) == ExitCode.OK
    assert "no regression: 1 fixed" in capsys.readouterr().out


def test_a_diff_with_a_regression_ends_with_1(before, after, capsys):
    assert main(["diff", after, before]) == ExitCode.DIVERGED
    assert "REGRESSION: 1 new failure" in capsys.readouterr().out


def test_a_diff_is_markdown_if_asked(before, after, capsys):
    main(["diff", before, after, "--markdown"])
    assert capsys.readouterr().out.startswith("### kvmprobe: no regression: 1 fixed\n")


def test_a_diff_with_a_run_that_was_cut_says_so(before, tmp_path, capsys):
    cut = written(tmp_path / "cut.json", INTERRUPTED)
    main(["diff", before, str(cut)])
    assert "cut.json: the run was cut short" in capsys.readouterr().err


@pytest.mark.parametrize("wanted", ["ktap", "ktap=", "pdf=x", "=x"])
def test_a_report_option_without_format_and_file_is_a_usage_error(wanted, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["run", "--report", wanted])
    assert ended.value.code == ExitCode.USAGE
    assert "expected FORMAT=FILE" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_told_before_anything_runs(capsys):
    arguments = ["run", "--target", "host", "--device", "/no/kvm", "--report", "ktap=/no/such/x"]
    assert main(arguments) == ExitCode.USAGE
    assert "--report /no/such/x: No such file" in capsys.readouterr().err


def test_the_schema_is_printed(capsys):
    assert main(["report", "--schema"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["title"] == LINES


def test_a_report_needs_a_run(capsys):
    assert main(["report"]) == ExitCode.USAGE
    assert "name a RUN" in capsys.readouterr().err
