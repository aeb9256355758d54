"""Finds out what a file is by its content, and reads it."""

from __future__ import annotations

from kvmprobe.abi import ioctls
from kvmprobe.scenarios.attached.cpuid_text import is_cpuid_text, read_cpuid_text
from kvmprobe.scenarios.attached.parts import Part, Sregs, Unreadable, XsaveImage
from kvmprobe.scenarios.attached.template import read_template
from kvmprobe.scenarios.op_fields import shown
from kvmprobe.scenarios.strict_json import MOST_BYTES
from kvmprobe.xstate.layout import KVM_XSAVE_SIZE

_LARGEST_IMAGE = 1 << 16
_ALIGNMENT = 64
_SREGS = {layout.size: layout.name for layout in (ioctls.KVM_SREGS, ioctls.KVM_SREGS2)}


def read_attached(content: bytes) -> Part:
    """Return what a file has.

    A file with a byte 0 is binary: ``struct kvm_sregs`` or ``struct kvm_sregs2`` by its size, else
    an XSAVE image.  Any other is text: a template if it begins with ``{``, else ``cpuid -r``.

    :raises ScenarioError: the file has no such form, or a mistake; the message begins with where
    """
    if len(content) > MOST_BYTES:
        raise Unreadable("size", f"at most {MOST_BYTES} bytes", f"{len(content)}")
    if b"\0" in content:
        return _binary(content)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise Unreadable(f"byte {error.start}", "UTF-8", f"{content[error.start]:#04x}") from error
    words = text.split(maxsplit=1)
    if not words:
        raise Unreadable("byte 0", "a template, CPUID text, an image or SREGS", "nothing")
    if words[0].startswith("{"):
        return read_template(content)
    if is_cpuid_text(text):
        return read_cpuid_text(text)
    expected = "a template, which begins with '{', or text of `cpuid -r`"
    raise Unreadable("line 1", expected, shown(words[0]))


def _binary(content: bytes) -> Part:
    size = len(content)
    if size in _SREGS:
        return Sregs(content)
    if KVM_XSAVE_SIZE <= size <= _LARGEST_IMAGE and size % _ALIGNMENT == 0:
        return XsaveImage(content)
    known = ", ".join(f"{nbytes} ({name})" for nbytes, name in _SREGS.items())
    raise Unreadable(
        "size",
        f"{known}, or {KVM_XSAVE_SIZE} to {_LARGEST_IMAGE} in steps of {_ALIGNMENT} (an XSAVE "
        "image, as KVM_GET_XSAVE2 returns it)",
        f"{size} bytes",
    )
