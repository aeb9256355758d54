"""The options that select scenarios."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import _ActionsContainer

SELECTION_HELP = """\
selection:
  An EXPRESSION has terms, `,` (or), `&` (and), `!` (not) and
  parentheses. A term is one of
    GLOB         an id, such as 'restore.*'; also id:GLOB
    op:GLOB      an op: set-xsave, SET_XSAVE, KVM_RUN; `ops` lists them
    tag:GLOB     a family, need or task: restore, amx, guest-code, fork
    hazard:GLOB  a known defect that makes it fatal to the host: B1, or any
    defect:GLOB  a known defect that it shows: B4, or any
  A known defect is named by its id, its CVE, or the function in which the
  host dies: restore_fpregs_from_fpstate. `explain` describes it.
  Hazards and defects are those that the model predicts for a Sapphire
  Rapids host.
  Several --select add up, and --exclude takes away:
    --select 'restore.* & op:KVM_RUN' --select tag:fork --exclude hazard:B1
"""


def add_selection(command: _ActionsContainer) -> None:
    """Declare ``--select`` and ``--exclude``."""
    command.add_argument(
        "--select",
        action="append",
        default=[],
        metavar="EXPRESSION",
        help="scenarios for which this holds; several may be given (default: all)",
    )
    command.add_argument(
        "--exclude",
        action="append",
        default=[],
        metavar="EXPRESSION",
        help="without scenarios for which this holds; several may be given",
    )
