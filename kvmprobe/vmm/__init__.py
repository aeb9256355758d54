"""What the calls of a recorded VMM do to its guests' FPU state.  Layer: vmm.

The model goes along with the recording; findings are about the VMM's order, not about the kernel.
"""
