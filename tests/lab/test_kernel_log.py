"""The reader of /dev/kmsg when records are overwritten before it reads them."""

from pathlib import Path

import pytest

from kvmprobe.abi.log_records import LOST_RECORDS
from tests.support.guest_programs import run_program

pytestmark = pytest.mark.lab
PROGRAM = Path(__file__).parent / "programs" / "log_gap.py"


def test_a_gap_is_reported_and_what_user_space_wrote_is_not():
    assert f"messages: {[LOST_RECORDS]}" in run_program(PROGRAM, "7.3.4")
