from kvmprobe.host.doctor.advice import fine, not_ready, worth_knowing
from kvmprobe.reports.doctor import doctor_lines

TOLD = (
    fine("taint", "none"),
    worth_knowing("nesting", "under KVM"),
    not_ready("panic", "stays down", "run with --arm"),
)


def test_each_topic_has_a_line_and_what_to_do_stands_below_it():
    assert doctor_lines(TOLD) == [
        "readiness for an unattended run",
        "  fine           taint    none",
        "  worth knowing  nesting  under KVM",
        "  not ready      panic    stays down",
        "                          -> run with --arm",
        "  1 fine, 1 worth knowing, 1 not ready",
    ]
