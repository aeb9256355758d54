"""The arguments by which commands take scenarios, and what helps to write them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from argparse import _ActionsContainer

SELECTION_HELP = """\
selection:
  An EXPRESSION is made of terms, `,` or `or`, `&` or `and`, `!` or `not`, and parentheses:
    GLOB         scenarios by id, such as 'restore.*'; also id:GLOB
    op:GLOB      that have such an op or observer: set-xsave, SET_XSAVE, KVM_RUN; see `ops`
    tag:GLOB     of a family, with a need or an actor: restore, amx, guest-code, privilege, fork
    hazard:GLOB  that a known defect makes fatal to the host: O1, or its behaviour's name, or any
    defect:GLOB  that show a known defect: O3, or its behaviour's name, or any
  Hazards and defects are what the model says of a Sapphire Rapids host. Several --select add up;
  --exclude takes away: --select 'restore.* & op:KVM_RUN' --exclude hazard:any
"""


def add_selection(command: _ActionsContainer) -> None:
    """Take ``--select`` and ``--exclude``."""
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
        help="but not those for which this holds; several may be given",
    )
