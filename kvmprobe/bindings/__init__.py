"""/dev/kvm and arch_prctl through cffi: moves bytes, gives them no meaning.

Layer: bindings, the only impure low one.
"""
