"""The commands of `mfo`, one module a subject."""
