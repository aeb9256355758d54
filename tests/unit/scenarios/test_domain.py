"""The model's domain: what a document can ask, and the simple answers that the model knows."""

import json
import re

import pytest

from kvmprobe.errors import ScenarioError
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.outcome import Done, Failed, NewDescriptor, NotCovered
from kvmprobe.model.sapphire_rapids import sapphire_rapids
from kvmprobe.scenarios.document import SCHEMA, from_document, paths
from kvmprobe.scenarios.domain import Domain
from kvmprobe.scenarios.scenario import Need
from tests.support.hosts import with_behaviours

HOST = sapphire_rapids()
VM = ({"op": "open-kvm"}, {"op": "create-vm"})
VCPU = (*VM, {"op": "create-vcpu"})
CPUID = ({"op": "get-supported-cpuid"}, {"op": "set-cpuid2"})
GUEST = (*VM, {"op": "map-payload"}, {"op": "create-vcpu"}, *CPUID)
NOP = {"op": "guest-execute", "executes": "NOP"}


def document(*ops):
    steps = [{"op": op} for op in ops]
    return json.dumps({"schema": SCHEMA, "id": "a.b", "needs": [], "steps": steps}).encode()


def last_outcome(*ops):
    domain = Domain(HOST)
    outcomes = [domain.follow(op).outcome for _, op in paths(from_document(document(*ops)))]
    return outcomes[-1]


@pytest.mark.parametrize(
    "op",
    [
        {"op": "get-xsave2"},
        {"op": "get-regs"},
        {"op": "set-xcrs", "xcr0": 1},
        {"op": "get-msrs", "indices": []},
        {"op": "get-reg-list", "capacity": 0},
        {"op": "ioctl-to-nowhere", "ioctl": "KVM_GET_REGS", "on": "vcpu0"},
        {"op": "set-cut-off-cpuid2", "size": 0},
    ],
    ids=lambda op: op["op"],
)
def test_any_ioctl_on_a_closed_descriptor_is_ebadf(op):
    assert last_outcome(*VCPU, {"op": "close", "on": "vcpu0"}, op) == Failed(9)


def test_memory_for_a_closed_vm_is_ebadf():
    assert last_outcome(*VM, {"op": "close", "on": "vm"}, {"op": "map-halt"}) == Failed(9)


def test_a_name_that_is_bound_again_is_open_again():
    again = ({"op": "close", "on": "vm"}, {"op": "create-vm"}, {"op": "check-xsave2"})
    assert isinstance(last_outcome(*VM, *again), Done)


def test_a_child_closes_what_it_cannot_use():
    # fs/open.c: close(2) is no ioctl, which virt/kvm/kvm_main.c refuses to another memory
    child = {"op": "go-on-in-child"}
    assert last_outcome(*VCPU, child, {"op": "get-xsave2"}) == Failed(5)
    assert last_outcome(*VCPU, child, {"op": "close", "on": "vcpu0"}) == Done()


def test_a_child_does_not_go_on_with_tasks():
    spawn = {"op": "spawn-task", "task": "other", "relation": "fork"}
    with pytest.raises(ScenarioError, match="answers only the process"):
        last_outcome(spawn, {"op": "go-on-in-child"})


def test_what_surely_failed_was_not_read():
    # KVM_ENABLE_CAP leaves open what later calls do; without an irqchip there is no LAPIC.
    unknown = {"op": "set-one-reg", "register_id": 0x2030000200000010, "value": 0}
    with pytest.raises(ScenarioError, match="no output is called"):
        last_outcome(*VCPU, unknown, {"op": "get-lapic"}, {"op": "set-lapic"})


# virt/kvm/kvm_main.c: kvm_set_memory_region
SLOTS = [
    (("map-halt", "map-halt"), Failed(22), "the same page in fresh memory"),
    (("map-halt", "map-out"), Failed(22), "other memory in a slot"),
    (("map-payload", "map-payload"), Failed(22), "fresh memory in a slot"),
    (("map-halt", "map-payload"), Failed(17), "overlaps the reset vector's page"),
    (("map-payload", "map-halt"), Failed(17), "overlaps the payload's"),
]


@pytest.mark.parametrize(("ops", "outcome"), [s[:2] for s in SLOTS], ids=[s[2] for s in SLOTS])
def test_a_memory_slot_keeps_its_memory_and_overlaps_none(ops, outcome):
    assert last_outcome(*VM, *({"op": op} for op in ops)) == outcome


OUTSIDE = [
    ((*VCPU, {"op": "run-until-halt"}), "run-until-halt: needs a guest that map-halt"),
    ((*VM, {"op": "map-out"}, *VCPU[2:], {"op": "run-until-halt"}), "run-until-halt: needs a"),
    (
        (
            *VM,
            {"op": "map-halt"},
            *VCPU[2:],
            {"op": "close", "on": "vcpu0"},
            {"op": "run-until-halt"},
        ),
        "run-until-halt: needs an open descriptor",
    ),
    (
        (
            *(*VM, {"op": "create-irqchip"}, {"op": "map-out"}, *VCPU[2:], {"op": "get-mp-state"}),
            *({"op": "set-mp-state", "mp_state": 4}, {"op": "run-until-out"}),
        ),
        "run-until-out: needs a guest that map-out",
    ),
    ((*VCPU, *CPUID, NOP), "guest-execute: needs a guest with the payload"),
    ((*VM, {"op": "map-payload"}, *VCPU[2:], NOP), "guest-execute: needs a CPUID table with long"),
    (
        (*GUEST, NOP, {"op": "map-payload"}, NOP),
        "guest-execute: needs a guest with the payload that was mapped last",
    ),
    ((*GUEST, {"op": "get-regs"}, NOP, {"op": "set-regs"}, NOP), "guest-execute: "),
    ((*VM, {"op": "create-vcpu", "id": 5000}), "create-vcpu: whether an id of 5000 exists"),
    (
        (*VCPU, {"op": "set-msrs", "entries": [[16, 0], [0x1C4, 0]]}),
        "set-msrs: 0x1c4 after an MSR that the model does not know",
    ),
    (
        (
            *VM,
            {"op": "map-halt"},
            *VCPU[2:],
            {"op": "get-regs"},
            {"op": "set-regs", "members": {"rbp": 1, "rip": 0}},
            {"op": "run-until-halt"},
        ),
        "run-until-halt: needs a guest that map-halt",
    ),
    ((*VCPU, {"op": "create-vcpu", "vm": "vcpu0"}), "create-vcpu: is made on a VM, and 'vcpu0'"),
    ((*VCPU, {"op": "create-vm", "vm": "vcpu0"}), "create-vm: 'vcpu0' is a vCPU"),
    (({"op": "set-altstack", "stack_size": 11500},), "set-altstack: whether 11500 bytes hold"),
    (({"op": "limit-descriptors"}, {"op": "limit-descriptors"}), "limit-descriptors: needs"),
    (
        (
            *VM,
            {"op": "map-payload"},
            *VCPU[2:],
            {"op": "get-supported-cpuid"},
            {"op": "set-cpuid2"},
            {"op": "limit-descriptors"},
            {"op": "during-run-get-xcrs"},
        ),
        "during-run-get-xcrs: needs descriptors of its own",
    ),
    (
        (*VM, {"op": "limit-descriptors"}, {"op": "close", "on": "vm"}),
        "close: after limit-descriptors",
    ),
    (
        (
            *VM[:1],
            {"op": "spawn-task", "task": "t", "relation": "exec"},
            {"op": "create-vm", "by": "t"},
        ),
        "create-vm: task 't' has no descriptor 'kvm' here",
    ),
    (
        (
            *VM[:1],
            {"op": "spawn-task", "task": "t", "relation": "fork"},
            VM[1],
            {"op": "create-vcpu", "by": "t"},
        ),
        "create-vcpu: task 't' has no descriptor 'vm' here",
    ),
]


@pytest.mark.parametrize(("ops", "message"), OUTSIDE, ids=[m for _, m in OUTSIDE])
def test_what_the_model_does_not_cover_is_refused_with_the_op(ops, message):
    path = f"$.steps[{len(ops) - 1}].op: "
    with pytest.raises(ScenarioError, match=f"^{re.escape(path + message)}"):
        from_document(document(*ops))


@pytest.mark.parametrize("offset", [64, 4096, 1 << 40])
def test_a_guests_operand_outside_of_its_area_is_refused(offset):
    save = {"op": "guest-xsave", "offset": offset}
    with pytest.raises(ScenarioError, match=r"^\$\.steps\[6\]\.op\.offset: expected 0 to 63"):
        from_document(document(*GUEST, save))


@pytest.mark.parametrize(
    ("op", "field"),
    [
        ({"op": "create-vm", "vm": ""}, "vm"),
        ({"op": "create-vcpu", "vcpu": ""}, "vcpu"),
        ({"op": "close", "on": ""}, "on"),
        ({"op": "spawn-task", "task": "", "relation": "fork"}, "task"),
        ({"op": "set-cpuid2", "vcpu": ""}, "vcpu"),
    ],
    ids=lambda value: value if isinstance(value, str) else value["op"],
)
def test_an_empty_name_is_refused_with_its_path(op, field):
    with pytest.raises(ScenarioError, match=rf"^\$\.steps\[2\]\.op\.{field}: expected 1 to 32 of"):
        from_document(document(*VM, op))


def test_a_task_of_its_own_descriptors_can_use_what_it_inherited():
    fork = {"op": "spawn-task", "task": "t", "relation": "fork"}
    assert (
        last_outcome(*VM[:1], fork, {"op": "create-vm", "vm": "own", "by": "t"}) == NewDescriptor()
    )


def test_a_scenario_needs_what_its_ops_need():
    assert from_document(document(*GUEST, NOP)).needs == {Need.GUEST_CODE}
    assert from_document(document(*VCPU, {"op": "set-xfd-asleep", "xfd": 0})).needs == {
        Need.PRIVILEGE
    }


def test_an_out_that_kvm_run_has_not_completed_is_skipped_by_the_next_one():
    # fuzz, seed 22, number 629; Documentation/virt/kvm/api.rst, KVM_EXIT_IO
    out = (*VM, {"op": "create-irqchip"}, {"op": "map-out"}, *VCPU[2:], {"op": "get-regs"})
    again = ({"op": "run-until-out"}, {"op": "set-regs", "rbx": 0}, {"op": "run-until-out"})
    with pytest.raises(ScenarioError, match="run-until-out: needs a guest that map-out"):
        last_outcome(*out, *again)


def test_registers_that_were_read_in_doubt_put_the_guest_where_nobody_knows():
    host = with_behaviours(HOST, Behaviour.SREGS_EFER_NOT_CHECKED)
    domain = Domain(host)
    ops = (
        *VCPU,
        # The model has no rule for this MSR; a reserved bit of EFER alone is certain even so.
        {"op": "set-msrs", "entries": [[0xE1, 1]]},
        {"op": "get-sregs"},
        {"op": "set-sregs", "cr4": 0, "members": {"efer": 1 << 33}},
    )
    outcomes = [domain.follow(op).outcome for _, op in paths(from_document(document(*ops)))]
    assert [type(outcome) for outcome in outcomes[-2:]] == [NotCovered, Done]
