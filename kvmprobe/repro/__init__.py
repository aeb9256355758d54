"""Scenarios as self-contained C programs.  Layer: beside execution; asks no kernel."""
