"""Checkers, which read only the kernel's replies and never the model's expectations.

They check a trace for contradictions: two views of one state that differ, a refused call that
changed something, an advertised feature that is refused.  They also compare traces of the same
calls in different orders.  So they can find an error that the model and the kernel share.
"""
