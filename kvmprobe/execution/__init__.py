"""Running scenarios: the worker that issues their calls, its driver, and the runner."""
