"""``kvmprobe fleet``: what the machines of a fleet need beside kvmprobe and dask."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from kvmprobe.cli.grammar.epilogs import end_with
from kvmprobe.cli.grammar.shared import Number
from kvmprobe.errors import ExitCode, UsageError
from kvmprobe.reports.console import print_lines

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from rich.console import Console

_MEMBERS = ("scheduler", "worker", "client")
_MOST_DAYS = 3650
_MEANING = """\
members of a fleet:
  Each has NAME.pem and NAME-key.pem, and ca.pem, which tells it whom to
  trust. ca-key.pem signs further members (--member); no machine needs it.
  Members can run code on each other's machines: dask is made for that.
  kvmprobe is on each machine in the same version, then:
    dask scheduler --host 0.0.0.0 --protocol tls
      --no-dashboard --dashboard-address 127.0.0.1:0
      --tls-ca-file ca.pem --tls-cert scheduler.pem
      --tls-key scheduler-key.pem
    dask worker tls://SCHEDULER:8786 --nthreads 1 --resources "LAB=1"
      --no-dashboard --dashboard-address 127.0.0.1:0
      --tls-ca-file ca.pem --tls-cert worker.pem
      --tls-key worker-key.pem
    kvmprobe run --scheduler tls://SCHEDULER:8786 --tls DIR --kernel 7.3.4
  Without the address, dask's HTTP servers, which know no certificates, are
  open to the network, with or without a dashboard.
  Resources of a worker: LAB, it can build and boot the emulated host;
  KVM, scenarios may use its own /dev/kvm; AMX beside KVM, its guests get
  AMX. A machine with KVM=1 has one such worker, which starts again when
  the machine does: after a panic the campaign waits for it (--patience).
"""


@contextlib.contextmanager
def extra_for(what: str) -> Iterator[None]:
    """Import what needs the extra ``fleet`` in this block.

    :param what: the option or command, for the message
    :raises UsageError: the extra is not installed
    """
    try:
        yield
    except ModuleNotFoundError as missing:
        raise UsageError(
            f"{what}: {missing}; it needs the extra: pip install 'kvmprobe[fleet]'"
        ) from missing


def add_arguments(fleet: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    commands = fleet.add_subparsers(dest="fleet_command", metavar="COMMAND")
    fleet.set_defaults(print_help=fleet.print_help)
    certs = commands.add_parser(
        "certs", help="write the certificates and keys with which the members know each other"
    )
    certs.add_argument("directory", type=Path, metavar="DIR", help="where to write them")
    certs.add_argument(
        "--member",
        action="append",
        metavar="NAME",
        help=f"write those of this member; several may be given (default: {', '.join(_MEMBERS)})",
    )
    certs.add_argument(
        "--days",
        type=Number(int, 1, _MOST_DAYS, "days"),
        default=365,
        metavar="N",
        help="they are valid for N days (default: %(default)s)",
    )
    end_with(certs, _MEANING)


def run(arguments: argparse.Namespace, console: Console) -> ExitCode:
    """Write certificates.

    :raises UsageError: see :func:`kvmprobe.fleet.certificates.make`
    """
    if arguments.fleet_command is None:
        arguments.print_help()
        return ExitCode.USAGE
    with extra_for("fleet certs"):
        from kvmprobe.fleet.certificates import make  # noqa: PLC0415
    members = arguments.member or _MEMBERS
    for name in members:
        if not name.replace("-", "").isalnum() or name == "ca":
            raise UsageError(f"--member {name}: not a name of letters, digits and '-'")
    files = make(arguments.directory, members, arguments.days)
    print_lines(console, [f"wrote {file}" for file in files])
    return ExitCode.OK
