"""What the page's script is given."""

from dataclasses import replace

import pytest

from kvmprobe.reports.html_report.columns import columns_of, scenario_ids
from kvmprobe.reports.html_report.payload import payload
from kvmprobe.results.difference import ImageDiffers
from kvmprobe.results.pool import Pool
from kvmprobe.results.record import (
    CallRecord,
    Crash,
    ScenarioRecord,
    StepRecord,
    Target,
)
from kvmprobe.results.run_document import RunDocument
from kvmprobe.results.verdict import Verdict
from kvmprobe.scenarios.ops.run import RunUntilHalt
from kvmprobe.scenarios.ops.xcrs import GetXcrs
from kvmprobe.xstate.diff import DifferingRegion
from tests.support.runs import O1_DIVERGENCE

STEP = StepRecord(
    (
        CallRecord(RunUntilHalt(), -22, {"exit_reason": 5}),
        CallRecord(GetXcrs(), 0, {"XCR0": 7}, {"XCR0": 3}, {"XCR0": 1}),
    ),
    ("a line",),
)


def record(scenario="restore.a.b", kernel="7.3.4", **fields):
    target = Target("lab", kernel, "")
    return ScenarioRecord(scenario, "a", "b", target, Verdict.PASS, **fields)


def packed(*records):
    columns = columns_of([RunDocument("kvmprobe 0", (), records, name="run.json")])
    return payload(columns, scenario_ids(columns))


def named(data, number):
    pairs = [data["texts"][part] if not i % 2 else part for i, part in enumerate(number)]
    return dict(zip(pairs[::2], pairs[1::2], strict=True))


def test_equal_values_have_one_number():
    pool = Pool()
    assert [pool.number(v) for v in ("a", "b", "a")] == [0, 1, 0]
    assert pool.values == ["a", "b"]


def test_a_step_has_its_calls_and_its_log():
    data = packed(record(steps=(STEP,)))
    calls, log = data["steps"][0]
    told = [(data["texts"][data["calls"][c][0]], data["calls"][c][2]) for c in calls]
    assert told == [("KVM_RUN", -22), ("KVM_GET_XCRS", 0)]
    assert [data["texts"][line] for line in log] == ["a line"]


def test_each_call_has_the_values_that_it_read():
    data = packed(record(steps=(STEP,)))
    run, get = data["calls"]
    assert [named(data, data["fields"][number]) for number in run[3:]] == [{"exit_reason": "0x5"}]
    assert [named(data, data["fields"][number]) for number in get[3:]] == [
        {"XCR0": "0x7"},
        {"XCR0": "0x3"},
        {"XCR0": "0x1"},
    ]


def test_errnos_and_exit_reasons_have_their_names():
    data = packed(record(steps=(STEP,)))
    # errno-base.h: EINVAL 22; linux/kvm.h: KVM_EXIT_HLT 5
    assert data["errnos"] == {22: "-EINVAL"}
    assert data["names"]["exit_reason"] == {"0x5": "KVM_EXIT_HLT"}


def test_the_page_is_told_which_values_are_bitmaps():
    data = packed(record(steps=(STEP,)))
    assert data["bitmaps"] == ["XCR0"]


def test_equal_steps_and_traces_are_written_once():
    data = packed(record(steps=(STEP, STEP)), record("restore.a.c", steps=(STEP, STEP)))
    assert (len(data["steps"]), len(data["traces"])) == (1, 1)


@pytest.mark.parametrize("step", [StepRecord(()), StepRecord((CallRecord(GetXcrs(), 0),))])
def test_a_step_with_little_in_it_is_a_step(step):
    assert packed(record(steps=(step,)))["traces"] == [(0,)]


def test_a_record_that_a_column_lacks_is_nothing():
    data = packed(record(), record("restore.a.c", "6.1.1"))
    assert [[bool(r) for r in column] for column in data["records"]] == [
        [True, False],
        [False, True],
    ]


def test_the_last_entries_of_a_record_are_left_out_where_they_are_empty():
    assert packed(record(duration=0.0015))["records"][0] == [(0, 1.5, 0)]


def test_an_image_is_its_size_and_its_regions():
    regions = (DifferingRegion("YMM", 576, 256, ((580, 4),)),)
    image = ImageDiffers(4096, 7, 3, (), regions)
    data = packed(record(divergences=(replace(O1_DIVERGENCE, difference=image),)))
    ((size, region),) = data["images"]
    assert (size, region[1:]) == (4096, (576, 256, ((580, 4),)))


def test_a_crash_comes_with_the_numbers_of_its_telling_lines():
    crash = Crash(1, RunUntilHalt(), "Oops: x", "f", (), "boring\nOops: x\nRIP: 0010:f+0x1/0x2\n")
    data = packed(record(crash=crash))
    (written,) = data["crashes"]
    assert (written[-2], data["texts"][written[-1]]) == ((1, 2), "RUN")


def test_columns_are_called_by_their_kernels():
    runs = [RunDocument("", (), (record(kernel=k),), name=f"{k}.json") for k in ("6.1.1", "6.2.2")]
    assert [c.label for c in columns_of(runs)] == ["6.1.1", "6.2.2"]


def test_two_runs_of_one_kernel_are_told_apart_by_their_files():
    runs = [RunDocument("", (), (record(),), name=name) for name in ("a.json", "b.json")]
    assert [c.label for c in columns_of(runs)] == ["7.3.4 lab (a.json)", "7.3.4 lab (b.json)"]


def test_one_kernel_at_two_places_is_told_apart_by_these():
    here = replace(record("fpu.a"), target=Target("host", "7.3.4", ""))
    columns = columns_of([RunDocument("", (), (record(), here), name="a.json")])
    assert [c.label for c in columns] == ["7.3.4 lab", "7.3.4 host"]


def test_scenarios_stand_as_the_catalogue_lists_them_unknown_ones_last():
    ids = (
        "fpu.get-replaced.none",
        "new.one",
        "restore.cpuid-msrs-xcrs-xsave.perm-none.xfd-zero.bv-zero",
    )
    columns = columns_of([RunDocument("", (), tuple(map(record, ids)))])
    assert scenario_ids(columns)[-1] == "new.one"
    assert scenario_ids(columns)[0].startswith("restore.")
