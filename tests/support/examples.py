"""Docstrings' examples as tests: the public names of their package are there."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

COMPILED = "kvmprobe.bindings._kvm"


def examples_of(package):
    """Each docstring with an example in a package, as a parameter."""
    names = {name: getattr(package, name) for name in package.__all__}
    found = pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
    within = [importlib.import_module(module.name) for module in found if module.name != COMPILED]
    modules = [package, *within]
    finder = doctest.DocTestFinder(exclude_empty=True)
    return [
        pytest.param(example, id=example.name)
        for module in modules
        for example in finder.find(module, extraglobs=names)
        if example.examples
    ]


def run(example):
    """Run one; an AssertionError tells what came instead."""
    told = []
    runner = doctest.DocTestRunner()
    runner.run(example, out=told.append)
    assert not runner.failures, "".join(told)
