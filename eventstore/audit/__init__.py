"""Proof that history is what it was: Merkle trees over events and commands, signed as the log grows, and their verification.

What follows from a key that the service does not hold in its database can be checked by anybody who trusts its public half.
"""
