"""Hosts that take no part in a matrix of moves: a missing one has a reason, a failed one fails."""

import contextlib

import pytest

from kvmprobe.errors import BootFailed, LabError, Unavailable
from kvmprobe.execution.move_matrix import MoveMatrix
from kvmprobe.execution.moving_hosts import MovingHosts
from kvmprobe.moves.cells import all_is_well
from kvmprobe.moves.planning import Host, every_move
from kvmprobe.moves.restoring import Into
from kvmprobe.progress import Silent
from tests.support.saved_guests import ORDERS

HOST = Host("7.3.4", "no-amx")


class Broken:
    """A place that does not open."""

    def __init__(self, error):
        self.error = error
        self.opened = 0

    def open(self):
        self.opened += 1
        raise self.error


def cells(opener):
    planned = every_move([HOST.kernel], [HOST.cpu], ["crosvm"], [Into.NEW])
    with MovingHosts(opener, Silent()) as hosts:
        return MoveMatrix(hosts, ORDERS, planned).run(2, Silent())


def of_place(error):
    place = Broken(error)
    return place, cells(lambda *_: contextlib.nullcontext(place))


def test_a_kernel_that_is_not_there_is_not_tried():
    def opener(*_):
        raise LabError("no such kernel")

    [cell] = cells(opener)
    assert cell.refused == "7.3.4 --cpu no-amx: no such kernel"


def test_a_kernel_whose_kvm_cannot_be_used_is_not_tried():
    place, [cell] = of_place(Unavailable("old_kvm", "too old"))
    assert (cell.refused, place.opened) == ("7.3.4 --cpu no-amx: too old", 1)


def test_a_boot_that_fails_is_tried_again_and_then_fails_the_matrix():
    place, [cell] = of_place(BootFailed("the emulated host ended", ()))
    assert (cell.why_not, place.opened) == ("7.3.4 --cpu no-amx: the emulated host ended", 2)
    assert not all_is_well([cell])


def test_a_mistake_of_ours_ends_the_matrix():
    with pytest.raises(ZeroDivisionError):
        of_place(ZeroDivisionError())
