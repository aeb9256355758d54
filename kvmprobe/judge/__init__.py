"""From what a kernel answered to a verdict: the model alongside, and what the log says."""
