"""What the help and the manual say beyond the options; each section's first line is its heading."""

from __future__ import annotations

import argparse

EXIT_STATUS = """\
exit status:
    0  everything that ran passed
       (or, with --known=xfail, known defects explain what did not)
    1  a divergence or a crash
    2  usage
    3  kvmprobe's own fault
    4  nothing could run
  124  the run's time was up
  130  interrupted
  `probe` ends with 0 if something can be tested here, else with 4,
  whatever else it advises.
  `diff` ends with 1 if the later run is worse.
  `lab exec` ends with the program's status, 255 after a panic.
"""
EXIT_STYLES = """\
exit styles:
  kselftest  1 also for wrong usage and for a fault of kvmprobe
  bisect     for `git bisect run`: 125, which skips, if nothing could run
             or time was up; 128, which ends it, for usage or a fault
  autotools  77 if nothing could run; 99 for what is neither good nor bad
  kut        kvm-unit-tests: 77 if nothing could run
  ltp        1 TFAIL, 32 TCONF if nothing could run, 2 TBROK for the rest
  always0    0, whatever comes
"""
PRINTING = """\
printing:
  Passes are quiet. A failure is printed in full when it comes, in one line
  if it is like an earlier one; what known defects explain in one line a
  kind, with the details at the end.
"""
RESUMING = """\
resuming:
  It runs what has no record, as the run was begun. If the host was booted
  anew, what was open when it went down is suspect: each such scenario runs
  again alone, last, and stays CRASHED if the host goes down with it K + 1
  times. One that --hazardous let go on to a load known to be fatal is not
  run again. What pstore kept of a panic goes into its record.
"""
FORMATS = """\
formats:
  ktap   run, families, scenarios nested; # SKIP, # XFAIL, # TIMEOUT,
         # ERROR
  junit  xunit2, a suite for each family on each target; a crash is an
         error, an expected failure is skipped
  kcidb  KCIDB v5: kernels are builds, scenarios tests, known defects
         issues with incidents
  jsonl  a line for the run, one for each scenario, one for the summary
  html   one page that needs no other and no network; COLUMN/SCENARIO
         after # in its address is one record
  --json writes one document, kvmprobe-run/1, a scenario a line: id,
  target, kernel, verdict, reason, known, label, expected_defects,
  divergence, divergences, findings, crash, hang, observers, steps,
  duration; the summary has complete, not_completed and counts.
  Of a run that was cut short ktap has `not ok ... # ERROR` for what is
  missing, junit a suite kvmprobe.not-completed, kcidb tests with the
  status MISS, jsonl no summary. ktap and jsonl grow while a run goes on,
  the others are written at its end.
"""
DISKS = """\
disks:
  The disk is mounted before the program starts and unmounted when it has
  ended. A panic leaves it as it is: what was synchronised is in FILE, as a
  run's directory is; what `run --json` writes is not. ext4's journal is
  recovered when `lab exec` boots with it again, which is a boot of its own
  with a new boot id. `debugfs -R 'rdump / DIR' FILE` copies files out;
  after a panic, `e2fsck -p FILE` first.
"""


def end_with(command: argparse.ArgumentParser, *sections: str) -> None:
    """Have a command's help end with these, as they are laid out."""
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.epilog = "\n".join(sections)
