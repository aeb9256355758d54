"""Sections of the help and the manual; the first line of each is its heading."""

from __future__ import annotations

import argparse

EXIT_STATUS = """\
exit status:
    0  everything that ran passed
       (with --known=xfail: or known defects explain every failure)
    1  a divergence or a crash
    2  wrong usage
    3  a bug in kvmprobe, or a build from other sources than those in use
    4  nothing could run: no /dev/kvm, no permission, KVM too old, no such
       kernel, the kernel did not boot, a download failed
  124  the run reached its --timeout
  130  interrupted
  `probe` exits with 0 if anything can be tested here, else with 4.
  `diff` exits with 1 if the later run is worse.
  `bisect` exits with 0 if it names one kernel.
  `lab exec` exits with the program's status, 255 after a panic.
  `trace -- COMMAND` exits with the program's status, 128 and the signal
  if one killed it; 2, 3 or 4 also if it could not be recorded.
"""
EXIT_STYLES = """\
exit styles:
  kselftest  1 also for wrong usage and for a bug in kvmprobe
  bisect     for `git bisect run`: 125 (skip) if nothing could run, the
             run reached its timeout, or for a bug; 128 (stop) for usage
  autotools  77 if nothing could run; 99 for errors that are no test result
  kut        kvm-unit-tests: 77 if nothing could run
  ltp        1 TFAIL, 32 TCONF if nothing could run, 2 TBROK for the rest
  always0    always 0
"""
VERDICTS = """\
verdicts:
  PASS       .  every call did what the model expects
  DIVERGED   D  a call did something else; the report has the rule, its
                source and the known defects that predict all of it
  CRASHED    C  the host died or the process was killed
  XFAIL      x  with --known xfail: known defects predict the divergence
  XPASS      X  with --known xfail: a defect of this kernel did not show
  TIMED_OUT  T  the scenario reached its deadline
  SKIPPED    -  cannot run here; the reason begins with a code
  BROKEN     !  a bug in kvmprobe
  Checkers examine the results without the model: what a failed call
  changed, two views of one state, advertised against accepted features,
  XSTATE_BV against XFD, pairs of scenarios that differ by one swap of
  neighbouring calls, and a derived scenario against its base. A finding is
  a divergence unless known defects explain it.
"""
DERIVED = """\
derived scenarios:
  The id is that of the base and one part more, which `explain` and `repro`
  take as well. N is the number of a step, from 0.
    blind            state is read at the end alone
    unread           nothing is read
    look-GETTER      `get-GETTER` of `kvmprobe ops` after each step
    twice-N          the step is made twice
    beside-N         another VM with a vCPU is created before the step
    kicked-N         KVM_RUN with immediate_exit before the step
    ran-N            KVM_RUN until HLT before the step
    moved-vcpu-N     all state is saved, and restored into a new vCPU
    moved-vm-N       the same in a new VM
    moved-process-N  the same in a new VM of a forked child
    moved-cpu        each call is made on another CPU than the one before
    host-live-all    the calling thread has a pattern in its FPU registers
    host-live-init   the same with INIT; -pkru-0: and PKRU 0
    host-live-tiles  the pattern, and permission for tiles
    competing-all    as host-live-all, and a process with a pattern in its
                     FPU registers competes for the CPU; also -init,
                     -pkru-0, -tiles
"""
FAMILIES = """\
families:
  restore     all orders of KVM_SET_CPUID2, KVM_SET_MSRS(IA32_XFD),
              KVM_SET_XCRS and KVM_SET_XSAVE; the id has the order, then
              guest permission, XFD, XSTATE_BV, and XCR0 if it is not all
              that KVM supports
  kick        the same with XFD_ERR and KVM_RUN(immediate_exit)
  permission  XCOMP requests of threads and processes
  system      creation, closed descriptors, capabilities, device attributes
  xsave, fpu  every header fault, every bit of XSTATE_BV, MXCSR, PKRU,
              buffers at the end of memory; KVM_SET_FPU and KVM_GET_FPU
  cpuid       tables of every shape, before and after KVM_RUN
  msrs        lists that fail in the middle; XFD, XFD_ERR, XSS, CET
  xcrs        illegal XCR0
  sregs       CR4 before and after CPUID
  literal     CPUID entries, CPU templates, XSAVE bytes, MSRs and SREGS as
              files have them; `convert` makes such scenarios
  pair        each pair of calls in both orders
  vmm         the restore orders of QEMU, Firecracker, Cloud Hypervisor,
              crosvm and others
  guest       guest instructions: XSETBV, RDMSR, AMX, x87 to AVX-512, XSAVE
  vcpus       restores of two vCPUs that interleave; calls of other threads
  nested      KVM_SET_NESTED_STATE; nested guests, also moved to another VM
  asleep      images that KVM_SET_XSAVE sleeps for, in a page fault
  waiting     calls on a vCPU that another thread runs
  migrate     a guest continued in another VM, in several restore orders
"""
PRINTING = """\
printing:
  Passing scenarios are only counted. The first failure of a kind is
  printed in full, the next ones in one line; failures that known defects
  explain are printed in one line for each kind, with details at the end.
"""
RESUMING = """\
resuming:
  `resume` runs the scenarios that have no record, with the arguments of
  the first attempt. If the host crashed in between, the scenarios that
  were running are suspects: each runs again alone, after all others, and
  becomes CRASHED if the host crashes K + 1 times during it. A scenario
  that --hazardous allowed to make a fatal call is not run again. If pstore
  has a panic, it becomes part of the record.
"""
FUZZING = """\
sequences:
  Each creates a VM and makes about ten calls of all that scenarios have:
  ioctls, guest instructions, permission requests, other tasks. The model,
  the checkers, and for every second one a twin without reads judge it.
  Most are variations of sequences that made a transition of the model, or
  with --coverage reached a block of the kernel, that no other had. The
  model cannot judge everything: what it does not cover is not made.
finds:
  The first sequence with a signature - rule and field, checker and claim,
  or headline and functions of a crash - is a find, unless known defects
  explain it. It is reduced as long as the signature stays: calls are left
  out, or become plainer ones with simpler values, and come into the order
  of a restore. What is left can have another cause with that signature,
  so the original is kept. DIR/finds has a directory for each:
    find.txt, find.json  what failed, and what comes without each call
    original.json        the sequence that was found
    reduced.json         the reduced one; `replay` and `repro` take it
    reproducer.c         the same as a C program
    kernel.log           what the kernel said, if it did
  DIR is a run, without the sequences that failed in no new way: `report`,
  `diff` and `bugreport` take it. ^C ends the search or a reduction, and
  writes what there is. The exit status is 1 if there are finds.
against:
  With --against the first difference between the two kernels in each
  sequence is counted under the names that explain it: known defects,
  behaviours that probes found on one of the hosts, facts of the hosts such
  as their CPUID, what KVM lets nested guests have (VMX capabilities), or a
  freedom that a rule leaves. A difference where the model has no rule, or
  a failure of the other kernel alone, is a find.
growth:
  Entries `growth` of DIR/journal.jsonl say how many sequences and calls
  there were after so many seconds, and how many different transitions of
  the model and, with --coverage, blocks of the kernel they had reached:
  after each batch, later on each time that the search is 3 % older, and
  at its end. `report DIR OTHER...` draws them, beside other searches and
  runs of the same kernel, such as one with --unguided.
corpus:
  --corpus DIR reads scenarios as `explain --json` writes them. If one of
  them is wrong, nothing runs. Afterwards it has the few sequences that
  together reached everything.
fleet:
  With --scheduler each worker that is there at the start searches for M
  minutes, with a seed of its own: N, N + 1, ... DIR/seed-N is the run of
  each. A search on the emulated host whose worker is lost begins again on
  another one. One on a machine's own kernel may have crashed it: the
  journal there has what was running. ^C keeps what each has found.
"""
SEARCHES = """\
searches:
  The page draws how searches (`fuzz`) grew, all on one kernel in the same
  pictures: blocks of the kernel and transitions of the model, by time and
  by sequences. What another run with --coverage on that kernel reached,
  such as the catalogue's, is a line across. Blocks are compared if kernel
  and functions in scope are the same; else the page says so.
  `coverage RUN --diff RUN` lists the blocks that only one of two reached.
"""
BISECTING = """\
bisecting:
  In a kernel tree with a configuration that the emulated host boots, such
  as that of a cloud kernel, between a release with a defect and its fix:
    git bisect start --term-old broken --term-new fixed FIXED BROKEN
    kvmprobe run --kernel BROKEN --select SCENARIO --out shown
    git bisect run sh -c 'make olddefconfig && make -j8 || exit 125
      kvmprobe run --exit-style bisect --kernel . --select SCENARIO \\
        --pin shown
      case $? in 0) exit 1;; 1) exit 0;; *) exit;; esac'
  The `case` swaps good and bad. For a regression leave it and the terms
  out: `git bisect start BAD GOOD`. A kernel with another failure than
  that of `shown`, one that does not boot, and one that shows a bug in
  kvmprobe are skipped (125). Between packaged kernels: `bisect`.
"""
PACKAGED_BISECTION = """\
bisection:
  The kernels are the packaged ones between the two, by version, that have
  KVM modules. --bad may be older than --good: then the first fixed kernel
  is named, else the first bad one. --bad is tested first: its failure is
  the one that is looked for; --good only if no other kernel is good. A
  kernel that does not boot, or fails in another way, is skipped; if that
  leaves several, all of them are named, and the exit status is 4.
"""
_DOCUMENT = """\
  --json writes one document, with one record in each line; `kvmprobe
  report --schema` prints the JSON Schema of records and summary.
  ktap, jsonl and the document are written during the run, the others at
  its end.
"""
MATRICES = """\
matrix:
  As many kernels run at the same time as there are jobs (--jobs) and GiB
  of memory; the jobs are shared among them. Each is a run below DIR, for
  `report DIR`, `diff DIR/A DIR/B`, `bugreport`.
  Scenarios of a family that came out the same on every kernel are one
  row. A cell has the sign of the verdict, and known defects, digits of
  the signature, or the code of the reason, which are listed below the
  table; `>` marks what is not as on the kernel to its left. The column of
  a kernel that does not exist, has no KVM or does not boot is empty, and
  says why below. `resume DIR` runs what has no result. The exit status is
  that of `run` over all kernels, and 1 if anything planned has neither a
  result nor a reason.  `migrate` moves guests between kernels.
"""
SUITES = """\
suites:
  The tests are those of tools/testing/selftests/kvm without *_perf_test,
  and of x86 those about FPU state. The package is fetched and verified,
  and built once for each version, with make and gcc. The kernel boots
  once, and each test runs on a fork of that machine: a panic is its
  result, and the next one starts from the same state. The exit status of
  a test decides: 0 is pass, 4 is skip, and any other FAIL; the reason is
  what it printed. If it is known why a test fails, that follows: kernel,
  test, emulator, or machine (what the host lacks, or its speed).
  `report DIR`, `diff DIR/A DIR/B` and `resume DIR` take the results, as
  they do of a matrix.
"""
DISKS = """\
disks:
  The disk is mounted before the program starts and unmounted after it
  ends. After a panic FILE has everything that was synchronised, such as
  a run's directory; the file of `run --json` is not synchronised. The next
  `lab exec` with FILE recovers ext4's journal in a boot of its own, with a
  new boot id. `debugfs -R 'rdump / DIR' FILE` copies files out; after a
  panic, run `e2fsck -p FILE` first.
"""
TRACING = """\
recording:
  The program runs unmodified and stops only at KVM's ioctls other than
  KVM_RUN and at arch_prctl calls for XSTATE features: a seccomp filter
  selects them, and ptrace stops there. Of KVM_RUNs, the first ones after a
  call on the vCPU are recorded; where a thread runs on without stops, the
  recording says that its KVM_RUNs were not counted. Threads and children
  are recorded as well. Guest memory is not.
  --pid cannot install a filter: every system call of the process stops,
  each KVM_RUN is counted, and each of its threads is interrupted once, as
  by a signal that it ignores. ^C lets go of it.
  If kvmprobe is killed, the program goes on, and the recording has no end.
  The recorder, a process of its own, then lets all calls pass until the
  program ends; if that is killed as well, a second one does. Only a call
  in the moment between fails, with ENOSYS.
  A seccomp filter of the program comes first: a call that it refuses or
  kills for does not reach KVM and is not recorded.
  A setuid program needs root: the kernel takes its privileges away if it
  is traced. Without root, programs that it starts gain none either.
"""
SAFETY = """\
safety:
  Some scenarios can panic the host: KVM_RUN loads the guest's FPU state,
  and the host's XRSTOR faults if XSTATE_BV and XFD share a bit. kvmprobe
  first determines, with calls that cannot fail that way, which known
  defects the kernel has, and predicts which scenarios are fatal. On a real
  host those stop before the load; so does any other scenario whose state,
  as read back, would fault. --hazardous removes both limits, for the first
  scenario of each kind of hazard (with --all-crashes: for all). The
  emulated host always continues to the crash.
  A host whose kernel has had a fault since boot is refused unless
  --allow-tainted is given, and --hazardous next to other VMs unless
  --shared is.
"""


def formats() -> str:
    """Return the section about report formats."""
    # Imported late: `kvmprobe --help` has no use for it.
    from kvmprobe.reports.formats import described  # noqa: PLC0415

    return f"formats:\n{described()}{_DOCUMENT}"


def end_with(command: argparse.ArgumentParser, *sections: str) -> None:
    """Have a command's help end with these, as they are laid out."""
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.epilog = "\n".join(sections)
