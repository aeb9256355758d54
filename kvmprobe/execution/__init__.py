"""Running scenarios: the worker that asks the kernel, and the judge that holds the model against it."""
