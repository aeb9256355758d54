"""The reference model: how a correct kernel keeps guest FPU state.  Layer: model, pure.

Immutable states in, immutable states and expected outcomes out.  It knows neither ops nor
/dev/kvm, and never asks which kernel runs: what legally differs, and what is a known defect, is a
named behaviour.
"""
