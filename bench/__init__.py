"""Benchmarks: every figure against a named reference in the same run."""
