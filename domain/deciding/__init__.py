"""The answers to commands, by what they are about; `domain.decide` hands each command to its own."""
