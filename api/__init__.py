"""What people and systems ask over HTTP."""
