"""What we do when a message arrives: take in commands, run phases, fire timers."""
