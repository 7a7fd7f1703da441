"""Flows under a schedule of faults, and a checker that reads everything afterwards."""
