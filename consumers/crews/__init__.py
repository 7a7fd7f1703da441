"""Agents that take part in a phase: who asks them, and the process of their own in which CrewAI runs."""
