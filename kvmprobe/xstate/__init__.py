"""Reading and writing XSAVE images and CPUID tables.

Pure.  The names in ``__all__`` are public.  An *image* is bytes in the standard (not compacted)
format; a *bitmap* is an integer with one bit per state component; a *content* is the bytes of one
component.

>>> layout = Layout.of([Component(XFeature.YMM, offset=576, size=256)])
>>> fields = XsaveFields(
...     xstate_bv=FPSSE | XFeature.YMM.bit,
...     contents={XFeature.SSE: bytes(range(256)), XFeature.YMM: bytes(256)},
... )
>>> image = encode(fields, layout, size=4096)
>>> names(xstate_bv_of(image))
'0x7 (FP|SSE|YMM)'
>>> decode(image, layout).contents[XFeature.SSE][:4].hex()
'00010203'
>>> changed = image[:600] + b"?" + image[601:]
>>> [(found.where, found.offset) for found in differences(image, changed, layout)]
[('YMM', 600)]
"""

from kvmprobe.errors import LayoutError
from kvmprobe.xstate.cpuid import CpuidEntry, CpuidTable, Register
from kvmprobe.xstate.cpuid_layout import layout_of
from kvmprobe.xstate.diff import Difference, DifferingRegion, differences, differing_regions
from kvmprobe.xstate.features import (
    AVX512,
    DYNAMIC,
    FPSSE,
    MPX,
    XTILE,
    XFeature,
    names,
    numbers,
)
from kvmprobe.xstate.image import (
    FCW_INIT,
    MXCSR_INIT,
    XsaveFields,
    decode,
    encode,
    init_content,
    is_init,
    xstate_bv_of,
)
from kvmprobe.xstate.layout import KVM_XSAVE_SIZE, Component, Layout
from kvmprobe.xstate.tiles import tile_configuration

__all__ = [
    "AVX512",
    "DYNAMIC",
    "FCW_INIT",
    "FPSSE",
    "KVM_XSAVE_SIZE",
    "MPX",
    "MXCSR_INIT",
    "XTILE",
    "Component",
    "CpuidEntry",
    "CpuidTable",
    "Difference",
    "DifferingRegion",
    "Layout",
    "LayoutError",
    "Register",
    "XFeature",
    "XsaveFields",
    "decode",
    "differences",
    "differing_regions",
    "encode",
    "init_content",
    "is_init",
    "layout_of",
    "names",
    "numbers",
    "tile_configuration",
    "xstate_bv_of",
]
