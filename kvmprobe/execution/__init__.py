"""Running scenarios: the worker that asks the kernel, the judge that holds the model to it."""
