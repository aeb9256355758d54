"""Runs the orders that can panic a host, as on a real one; the arguments name policies, in turn."""

import sys

from kvmprobe.execution.place import ThisHost
from kvmprobe.execution.runner import Hazardous, Runner
from kvmprobe.progress import Silent
from kvmprobe.scenarios.catalog import restore

WANTED = ".perm-granted.xfd-armed.bv-tiles"
ENDED = "ended"


def say(*words):
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def tell(record):
    runs = sum(call.op.call_name == "KVM_RUN" for step in record.steps for call in step.calls)
    say(record.id.split(".")[1], record.verdict.value, runs, "+".join(record.known))


def main():
    for policy in sys.argv[1:]:
        runner = Runner(ThisHost(), Hazardous[policy], tell, Silent())
        # The whole catalogue takes the emulated host long to make.
        runner.run(
            lambda scenario: scenario.startswith("restore.cpuid-") and scenario.endswith(WANTED),
            restore.scenarios,
        )
        say(policy, ENDED)


if __name__ == "__main__":
    main()
