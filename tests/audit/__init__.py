"""Proof that history is what it was."""
