"""Schedules: what makes flows at times of its own. An aggregate beside the flow, with commands, events and a history of its own."""
