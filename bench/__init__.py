"""Measurements, each compared in one run with something else."""
