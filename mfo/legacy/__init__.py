"""The older system: its tables taken into history, and its callers served until they have changed."""
