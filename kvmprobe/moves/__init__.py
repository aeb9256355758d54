"""Whether a guest that was saved on one host goes on on another.  Layer: moves.

Nothing runs: what the source returns and what the target does with it is what the model says.
"""
