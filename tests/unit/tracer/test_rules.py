"""What the recorder reads of each ioctl; sizes are from linux/kvm.h and asm/kvm.h."""

from kvmprobe.abi import ioctls
from kvmprobe.tracer.rules import Rule, as_text, rule_of, rules


def test_a_table_is_its_head_and_entries():
    # struct kvm_msrs has 8 bytes, struct kvm_msr_entry 16; nmsrs is a __u32.
    assert rule_of(ioctls.SET_MSRS) == Rule(
        0x4008AE89, sent=1, got=0, size=8, entry=16, count_width=4
    )


def test_the_count_of_a_register_list_has_64_bits():
    assert rule_of(ioctls.GET_REG_LIST).count_width == 8


def test_kvm_xcrs_has_room_for_its_entries():
    # Its size is in the request number: _IOW(KVMIO, 0xa7, struct kvm_xcrs).
    assert rule_of(ioctls.SET_XCRS) == Rule(0x4188AEA7, sent=1, got=0, size=0x188)


def test_images_have_the_size_of_the_capability_but_that_of_get_xsave():
    assert rule_of(ioctls.SET_XSAVE).image == 1
    assert rule_of(ioctls.GET_XSAVE2).image == 1
    assert rule_of(ioctls.GET_XSAVE) == Rule(0x9000AEA4, sent=0, got=1, size=4096)


def test_nested_state_says_its_size():
    # struct kvm_nested_state: flags, format, size at 4.
    assert rule_of(ioctls.SET_NESTED_STATE).size_at == 4


def test_registers_and_attributes_are_behind_a_pointer():
    # struct kvm_one_reg: addr at 8; struct kvm_device_attr: addr at 16.
    assert rule_of(ioctls.SET_ONE_REG)[8:] == (8, 0, 1)
    assert rule_of(ioctls.GET_ONE_REG)[8:] == (8, 0, 0)
    assert rule_of(ioctls.GET_DEVICE_ATTR)[8:] == (16, 8, 0)


def test_guest_memory_is_behind_no_rule():
    regions = (ioctls.SET_USER_MEMORY_REGION, ioctls.GET_DIRTY_LOG)
    assert [rule_of(spec).pointer_at for spec in regions] == [0, 0]


def test_the_recorder_gets_every_ioctl_with_a_structure():
    assert as_text().count(";") == len(rules())
    assert all(len(rule.split(",")) == len(Rule._fields) for rule in as_text().split(";")[:-1])
