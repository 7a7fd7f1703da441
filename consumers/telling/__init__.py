"""Telling the outside what happens to flows: rows made by a follower of the log, sent as mail and as webhooks."""
