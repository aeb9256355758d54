import pytest

from kvmprobe.model import HostProfile
from tests.support.hosts import AMX_HOST, AVX512_HOST


def test_amx_host_can_give_tiles():
    assert AMX_HOST.amx


def test_avx512_host_cannot():
    assert not AVX512_HOST.amx


def test_default_permission_lacks_only_the_dynamic_component():
    assert AMX_HOST.default_permission == 0x202E7


def test_uabi_image_is_never_smaller_than_struct_kvm_xsave():
    # Linux commit d187ba531230: the base size is sizeof(struct kvm_xsave).
    assert AVX512_HOST.uabi_size(0xE7) == 4096


def test_uabi_image_with_tiles_ends_with_tile_data():
    # contract section 2: 2816 + 8192
    assert AMX_HOST.uabi_size(0x602E7) == 11008


@pytest.mark.parametrize("missing", HostProfile.__dataclass_fields__)
def test_a_profile_without_a_part_is_refused(missing):
    known = {name: getattr(AMX_HOST, name) for name in HostProfile.__dataclass_fields__}
    del known[missing]
    with pytest.raises(TypeError, match=missing):
        HostProfile(**known)
