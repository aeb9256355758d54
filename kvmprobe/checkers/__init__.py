"""Judges that look only at what the kernel answered, never at what the model expects.

They hold a trace against itself (two views of one state, a failing call, what is advertised and
what is accepted) and against the trace of another order of the same calls.  What the model and the
kernel get wrong in the same way still shows here.
"""
