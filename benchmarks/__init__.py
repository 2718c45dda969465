"""Measurements of fastchunk and of what a user would pick instead, each checked before it is timed.

`python -m benchmarks --help` says what can be run.
"""
