"""Why a guest in a used vCPU loses its tiles, or takes the host down."""

from kvmprobe.moves.causes import Cause, explained
from kvmprobe.moves.guests import Use, guest
from kvmprobe.moves.orders import Saved
from kvmprobe.moves.restoring import Fatal, Into, Lost
from kvmprobe.vmm.findings import Piece, PieceKind
from tests.support.probed import profile_of
from tests.support.saved_guests import ORDERS

TILE_DATA = Piece(PieceKind.COMPONENT, 18)


def found(target, order):
    source = profile_of("7.3.4")
    with_tiles = guest(source, source.supported, Use.TILES)
    return explained(Saved(source, with_tiles, profile_of(target)), ORDERS[order], Into.USED)


def test_an_order_that_leaves_xfd_armed_meets_b1_on_an_old_kernel():
    [fatal] = found("6.12.43", "firecracker")
    assert fatal.finding == Fatal("KVM_RUN")
    assert (fatal.cause, fatal.defects) == (Cause.DEFECT, ("B1",))


def test_that_it_loses_tiles_on_a_new_one_is_its_own_fault():
    lost = {one.finding: one.cause for one in found("7.3.4", "firecracker")}
    assert lost[Lost("KVM_SET_XSAVE", TILE_DATA)] is Cause.ORDER


def test_an_order_that_clears_xfd_after_the_image_leaves_it_to_the_kernel():
    [lost] = found("7.3.4", "qemu-full")
    assert (lost.finding, lost.cause) == (Lost("KVM_SET_XSAVE", TILE_DATA), Cause.ABI)
