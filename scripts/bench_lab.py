def measure(k): pass
