"""Benchmarks: ``make bench``, or ``python -m benchmarks [names...] [--runs N] [--quick]``.

A benchmark is a module with a function that takes a ``Bench`` and gives a ``Report``; ``__main__`` names them all.
Absolute figures depend on the machine; the ratios, measured side by side in one run, are what to look at.
"""
