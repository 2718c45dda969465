"""Measurements of fastchunk and of what a user would pick instead, each checked before it is timed.

`python -m benchmarks` runs them all and rewrites `bench_results/` and the README's tables.
"""
