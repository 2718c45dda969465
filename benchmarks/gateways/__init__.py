"""Gateways side by side: others' beside this library's own, before one upstream on loopback."""
