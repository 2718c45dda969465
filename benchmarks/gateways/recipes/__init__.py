"""Gateways as people write them, and what runs others in their own environments.

They import nothing of the benchmarks: each runs in the environment of its peer.
"""
