"""Files made by chance, read until something gives way."""
