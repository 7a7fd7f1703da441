"""What a flow is: commands, events, decide, evolve and the flow types. Pure: no I/O, no clock, no randomness."""
