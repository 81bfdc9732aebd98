"""Wiring: starts a run, conducts it, drains it and names its outcome."""
