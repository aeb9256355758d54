from dataclasses import replace

from kvmprobe.reports.bisection import Tried, result_json, result_lines
from kvmprobe.search.bisection import Bisection, Seen
from tests.support.runs import HOSTILE, OLD, diverged

RUNGS = ("6.12.43", "6.12.57", "6.12.69", "6.12.95")
TESTED = {
    "6.12.43": Tried("6.12.43", Seen.BAD, "known, B1", run="m/6.12.43"),
    "6.12.57": Tried("6.12.57", Seen.BAD, "known, B1", diverged("restore.a", ("B1",)), "m/57"),
    "6.12.69": Tried("6.12.69", Seen.GOOD, "passes", run="m/69"),
}


def bisection(tested, *, bad_first=True):
    seen = {kernel: found.seen for kernel, found in tested.items()}
    return Bisection(RUNGS, bad_first, seen)


def text(tested=TESTED, lacking=(), *, bad_first=True):
    return "\n".join(result_lines(bisection(tested, bad_first=bad_first), tested, lacking))


def test_the_first_fixed_kernel_is_named_with_the_last_failure():
    assert text().startswith("6.12.69 is the first fixed packaged kernel, after 6.12.57\n")
    assert "\n  step 1: KVM_SET_MSRS" in text()
    assert "kvmprobe diff m/57 m/69" in text()


def test_a_regression_is_named_by_its_first_bad_kernel():
    tested = {
        "6.12.95": Tried("6.12.95", Seen.BAD, "fails"),
        "6.12.69": Tried("6.12.69", Seen.BAD, "fails"),
        "6.12.57": Tried("6.12.57", Seen.GOOD, "passes"),
    }
    said = text(tested, bad_first=False)
    assert said.startswith("6.12.69 is the first bad packaged kernel, after 6.12.57\n")


def test_kernels_that_were_not_tested_are_told_with_the_reason():
    skipped = replace(TESTED["6.12.57"], seen=Seen.UNTESTABLE, reason="did not boot")
    said = text({**TESTED, "6.12.57": skipped}, ["6.12.60"])
    assert said.startswith("the first fixed kernel is one of 6.12.57, 6.12.69\n")
    assert "\n  6.12.57: untestable: did not boot\n" in said
    assert "not tested, listed without their modules package: 6.12.60" in said


def test_an_end_that_was_called_otherwise_is_all_there_is_to_say():
    said = text({"6.12.43": Tried("6.12.43", Seen.GOOD, "passes")})
    assert said == "6.12.43 was called otherwise: good: passes"


def test_the_document_names_the_kernels_that_the_first_one_is_among():
    document = result_json(bisection(TESTED), TESTED, [])
    assert (document["before"], document["first"]) == ("6.12.57", ["6.12.69"])


def test_text_of_a_kernel_cannot_move_the_terminals_cursor():
    record = replace(diverged("restore.a"), target=OLD, reason=HOSTILE[0])
    tested = {**TESTED, "6.12.57": replace(TESTED["6.12.57"], reason=HOSTILE[0], record=record)}
    assert "\x1b" not in text(tested)
