"""A place whose worker stands in front of the model instead of a kernel."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable  # noqa: TC003
from dataclasses import dataclass, field, replace
from functools import cache

from kvmprobe.abi.executor import HostRegisters
from kvmprobe.execution.driver import Driver, Timing
from kvmprobe.execution.link import HostGoneError, LinkLostError
from kvmprobe.execution.packed import pack
from kvmprobe.execution.place import Risk
from kvmprobe.execution.wire import bytes_to_wire, define
from kvmprobe.model.behaviours import Behaviour
from kvmprobe.model.cpuid import get_supported
from kvmprobe.model.machine import Machine
from kvmprobe.model.outcome import HostDies
from kvmprobe.results.record import Crash, Target
from kvmprobe.scenarios import catalog
from kvmprobe.scenarios.catalog.behaviour_probes import PROBES
from tests.support.fake_kernel import reply_of

LOADS = {"run-until-halt", "run-immediate-exit"}
CRASH = Crash(0, None, "unexpected #NM exception", "exc_device_not_available", (), "report")


def facts_of(host, *, amx_tile=1):
    """What a worker tells of a host with this profile."""
    machine = Machine.fresh(host)
    knows_apx = Behaviour.KNOWS_APX in host.behaviours
    return {
        "kernel": {"release": "6.12.95"},
        "cpu": {
            "xcr0": host.user_features,
            "mxcsr_mask": host.mxcsr_mask,
            "amx_tile": amx_tile,
            "leaves": [list(entry) for entry in host.cpu.entries],
            "components": {
                str(c.nr): {"offset": c.offset, "size": c.size, "supervisor": 0}
                for c in host.layout.components
            },
        },
        "userfaultfd": "",
        "xcomp": {
            "GET_XCOMP_SUPP": host.user_features,
            "REQ_XCOMP_PERM(19)": -95 if knows_apx else -22,
        },
        "kvm": {
            "vendor_modules": ["kvm_intel"],
            "cap_xsave2": 4096,
            "msrs": sorted(host.msrs),
            "xcomp_guest_supp": host.kvm_xcr0,
            "supported_cpuid": pack(_table(machine)),
            "supported_cpuid_permitted": pack(host.supported.to_bytes()),
            "guest_code": {"real_mode": "runs", "long_mode": "runs"},
        },
    }


_LEARNED = {}


def learn_ops(monkeypatch):
    """Let fake links run ops that no scenario of the catalogue has, as a search makes them."""
    original = Driver._define

    def define_and_learn(driver, op, host):
        _LEARNED.setdefault(_key(op, host), op)
        return original(driver, op, host)

    monkeypatch.setattr(Driver, "_define", define_and_learn)


def _table(machine):
    return get_supported(machine, "t").outcome.table.table.to_bytes()


@dataclass
class FakePlace:
    """One kernel: a profile with the behaviours it has.

    :ivar promised: the host that ``facts`` tell of, where it is another
    :ivar obedient: the worker stops before a fatal load when it is asked to
    :ivar hides: the kernel's defects do not show in the probes
    :ivar loads: numbers of the requests whose fatal load was made, in order
    :ivar logs: kernel messages during the first step of each scenario that is no probe
    :ivar defect: changes a step of the kernel; see tests/support/planted_defects.py
    :ivar boots: how many links were opened
    :ivar killed: by number of the link: how many scenarios it runs before it is killed from outside
    """

    host: object
    risk: Risk = Risk.REAL
    facts: dict | None = None
    promised: object = None
    obedient: bool = True
    hides: bool = False
    logs: tuple = ()
    loads: list = field(default_factory=list)
    boots: int = 0
    jobs: int = 1
    defect: Callable = lambda _op, _before, step: step
    killed: dict = field(default_factory=dict)
    timing: Timing = field(default_factory=Timing)
    target = Target("host", "6.12.95", "fake")

    def recall(self):
        return None

    def remember(self, recorded):
        return None

    def open(self):
        self.boots += 1
        return FakeLink(self)


class FakeLink:
    """Understands definitions, runs and ``facts``; everything else it ignores."""

    def __init__(self, place):
        self._place = place
        self._host = place.host
        plain = replace(place.promised or self._host, behaviours=frozenset())
        self._ops = _ops_by_call(plain)
        self._defined = {}
        self._waiting = deque()
        self._runs = 0
        self._lives = place.killed.get(place.boots)
        self._out = deque([{"ready": {"pid": 1, "kmsg": "read", "taint": 0}}])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def blocks_reached(self):
        return None

    def abort(self):
        return None

    def send(self, line):
        verb, _, rest = line.partition(" ")
        if verb == "D":
            number, _, words = rest.partition(" ")
            self._defined[int(number, 16)] = self._ops.get(words) or _LEARNED[words]
        elif verb == "facts":
            self._out.append({"facts": self._place.facts or facts_of(self._host)})
            self._out.append(_end(-1, "done"))
        elif verb == "R":
            self._waiting.append(rest)

    def receive(self, timeout):
        if not self._out:
            self._run(self._waiting.popleft())
        message = self._out.popleft()
        if isinstance(message, Exception):
            raise message
        return json.dumps(message)

    def _run(self, request):
        if self._runs == self._lives:
            self._out.append(HostGoneError("killed"))
            return
        self._runs += 1
        probing = self._place.boots == 1 and self._runs <= len(PROBES)
        hidden = self._place.hides and probing
        host = replace(self._host, behaviours=frozenset()) if hidden else self._host
        number, gate, registers, *_, calls = request.split(" ", 7)
        machine = Machine.fresh(host, HostRegisters(int(registers, 16)))
        number, gate = int(number, 16), gate == "1" and self._place.obedient
        for index, step in enumerate(calls.split("; ")[:-1]):
            replies = []
            for op in (self._defined[int(call, 16)] for call in step.split()):
                loads = op.name in LOADS
                if loads and gate and machine.vcpu("vcpu0").fpstate.load_faults:
                    self._out.append(_end(number, "held"))
                    return
                transition = self._place.defect(op, machine, op.step(machine))
                if isinstance(transition.outcome, HostDies):
                    self._place.loads.append(number)
                    self._out.append(LinkLostError("the host died", CRASH))
                    return
                reply = reply_of(transition.outcome, op, self._host)
                output = [] if reply.output is None else [0, bytes_to_wire(reply.output)]
                replies.append([reply.result, *output])
                machine = transition.machine
            logged = [] if probing or index else list(self._place.logs)
            self._out.append({"n": number, "s": index, "r": replies, "k": logged})
        self._out.append(_end(number, "done"))


@cache
def _ops_by_call(host):
    """The ops of the probes and the catalogue, by the call that each is lowered to.

    Two ops may be lowered alike and differ in what their guest does: the first stands.
    """
    known = [*PROBES.values(), *catalog.scenarios(host)]
    fit = [s for s in known if host.amx or not s.needs_amx]
    ops = dict.fromkeys(op for s in fit for _, op in s.ops())
    found = {}
    for op in ops:
        found.setdefault(_key(op, host), op)
    return found


def _key(op, host):
    return define(op.lower(host)).words


def _end(number, status):
    return {"end": number, "status": status, "code": 0, "microseconds": 1000, "taint": 0, "k": []}
