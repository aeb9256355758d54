"""Running scenarios: the worker next to the kernel, and what drives it and keeps its results."""
