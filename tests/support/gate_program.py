"""Runs the orders that can panic a host, as on a real one; the argument names the policy."""

import sys

from kvmprobe.execution.place import ThisHost
from kvmprobe.execution.runner import Hazardous, Runner
from kvmprobe.progress import Silent
from kvmprobe.scenarios.catalog import restore

WANTED = ".perm-granted.xfd-armed.bv-tiles"


def tell(record):
    runs = sum(call.text == "KVM_RUN" for step in record.steps for call in step.calls)
    words = (record.id.split(".")[1], record.verdict.value, runs, "+".join(record.known))
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def main():
    runner = Runner(ThisHost(), Hazardous[sys.argv[1]], tell, Silent())
    # The whole catalogue takes the emulated host long to make.
    runner.run(
        lambda scenario: scenario.startswith("restore.cpuid-") and scenario.endswith(WANTED),
        restore.scenarios,
    )


if __name__ == "__main__":
    main()
