"""What is worth an auditor's while: how commands and facts become entries of the trail, what is kept from sight, and the rules."""
