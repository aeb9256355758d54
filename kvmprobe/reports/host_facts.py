"""A host's facts as text, from what its worker reported.

One table for `probe`, the HTML page and bug reports.  A kept run is an input like any other: a fact
that is absent or has another shape is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kvmprobe.abi.numbers import Msr
from kvmprobe.errors import errno_name
from kvmprobe.xstate.features import names

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Reader = Callable[[object], str]
    """Returns the text of one fact, or an empty string."""
    Topics = dict[str, dict[str, tuple[str, ...]]]

_NOT_AFFECTED = "Not affected"
_FEATURES = {"xsaves": "XSAVES", "xfd": "XFD", "amx_tile": "AMX"}


def host_facts(*hosts: object) -> Topics:
    """Return the facts of some hosts: by topic and name, one text for each host.

    Facts that no host has are left out.

    :param hosts: the report of each host's worker, as JSON-ready data
    """
    found: Topics = {}
    for topic, readers in _readers(hosts).items():
        texts = {name: tuple(map(read, hosts)) for name, read in readers.items()}
        if known := {name: text for name, text in texts.items() if any(text)}:
            found[topic] = known
    return found


def fact(host: object, path: Iterable[str]) -> object:
    """Return the value at a path of names, or None."""
    for name in path:
        host = host.get(name) if isinstance(host, Mapping) else None
    return host


def module_parameters(host: object) -> dict[str, dict[str, str]]:
    """Return the parameters of KVM's modules, by module."""
    return {
        module: {name: str(value) for name, value in _members(of).items()}
        for module, of in _members(fact(host, ("kvm", "parameters"))).items()
    }


def _members(value: object) -> dict[str, object]:
    return {str(k): v for k, v in value.items()} if isinstance(value, Mapping) else {}


def _readers(hosts: Iterable[object]) -> dict[str, dict[str, Reader]]:
    """Return the table, with the permissions and the modules that these hosts have."""
    permissions = {name: None for host in hosts for name in _members(fact(host, ("xcomp",)))}
    modules = {name: None for host in hosts for name in module_parameters(host)}
    return {
        **_READERS,
        "permission (arch_prctl)": {name: _result("xcomp", name) for name in permissions},
        "KVM": {**_KVM, **{f"parameters of {name}": _parameters(name) for name in modules}},
        "tool": _TOOL,
    }


def _text(*path: str) -> Reader:
    """Return a reader of a single value, or of a list of them."""

    def read(host: object) -> str:
        value = fact(host, path)
        if isinstance(value, list):
            return ", ".join(map(str, value))
        return "" if value is None or isinstance(value, Mapping) else str(value)

    return read


def _number(show: Callable[[int], str], *path: str) -> Reader:
    def read(host: object) -> str:
        value = fact(host, path)
        return show(value) if isinstance(value, int) and 0 <= value < 1 << 64 else ""

    return read


def _result(*path: str) -> Reader:
    """Return a reader of a bitmap, or of -errno."""

    def read(host: object) -> str:
        value = fact(host, path)
        if isinstance(value, int) and value < 0:
            return f"-{errno_name(-value)}"
        return _number(names, *path)(host)

    return read


def _parameters(module: str) -> Reader:
    def read(host: object) -> str:
        of_module = module_parameters(host).get(module, {})
        return " ".join(f"{name}={value}" for name, value in of_module.items())

    return read


def _configuration(host: object) -> str:
    config = _members(fact(host, ("environment", "kernel", "config")))
    return f"SHA-256 {config['sha256']}, {config.get('source')}" if config.get("sha256") else ""


def _taint(host: object) -> str:
    taint = _members(fact(host, ("environment", "kernel", "taint")))
    return f"{taint.get('value', '')} {taint.get('letters', '')}".strip()


def _settings(host: object) -> str:
    found = _members(fact(host, ("settings",)))
    return " ".join(
        f"{name.removeprefix('kernel/')}={value}"
        for name, value in found.items()
        if value is not None
    )


def _features(host: object) -> str:
    cpu = _members(fact(host, ("cpu",)))
    found = [name for key, name in _FEATURES.items() if cpu.get(key)]
    palettes = [f"palettes up to {cpu['palettes']}"] if cpu.get("palettes") else []
    return ", ".join([*found, *palettes])


def _vulnerabilities(host: object) -> str:
    found = _members(fact(host, ("environment", "cpu", "vulnerabilities")))
    return "; ".join(f"{name}: {text}" for name, text in found.items() if text != _NOT_AFFECTED)


def _firmware(host: object) -> str:
    return ", ".join(map(str, _members(fact(host, ("environment", "machine", "dmi"))).values()))


def _hypervisor(host: object) -> str:
    found = _members(fact(host, ("environment", "machine", "hypervisor")))
    if "bit" not in found:
        return ""
    return f"yes, {found.get('vendor') or 'without a signature'}" if found["bit"] else "no"


def _image_size(host: object) -> str:
    size, permitted = (fact(host, ("kvm", name)) for name in ("cap_xsave2", "cap_xsave2_permitted"))
    return f"{size} bytes, {permitted} with permission" if isinstance(size, int) else ""


def _listed_msrs(host: object) -> str:
    listed = fact(host, ("kvm", "msrs"))
    found = {Msr(i).name for i in listed if i in set(Msr)} if isinstance(listed, list) else set()
    return " ".join(sorted(found))


_READERS: dict[str, dict[str, Reader]] = {
    "kernel": {
        "release": _text("kernel", "release"),
        "version": _text("kernel", "version"),
        "build id": _text("environment", "kernel", "build_id"),
        "configuration": _configuration,
        "command line": _text("environment", "kernel", "cmdline"),
        "taint": _taint,
        "lockdown": _text("environment", "kernel", "lockdown"),
        "clocksource": _text("environment", "kernel", "clocksource"),
        "settings": _settings,
    },
    "processor": {
        "brand": _text("cpu", "brand"),
        "CPUID.1:EAX": _number(hex, "cpu", "signature"),
        "microcode": _text("environment", "cpu", "microcode"),
        "XCR0": _number(names, "cpu", "xcr0"),
        "features": _features,
        "MXCSR_MASK": _number(hex, "cpu", "mxcsr_mask"),
        "vulnerable or mitigated": _vulnerabilities,
    },
    "machine": {"firmware": _firmware, "under a hypervisor": _hypervisor},
}
_KVM: dict[str, Reader] = {
    "modules": _text("kvm", "vendor_modules"),
    "offers guests": _number(names, "kvm", "xcomp_guest_supp"),
    "KVM_CAP_XSAVE2": _image_size,
    "listed MSRs": _listed_msrs,
    "real-mode guest": _text("kvm", "guest_code", "real_mode"),
    "long-mode guest": _text("kvm", "guest_code", "long_mode"),
}
_TOOL: dict[str, Reader] = {
    "kvmprobe": _text("environment", "tool", "version"),
    "Python": _text("environment", "tool", "python"),
    "kernel headers": _text("environment", "tool", "headers"),
}
