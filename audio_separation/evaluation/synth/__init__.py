"""Evaluation of the listening synthesizer agent, and the map of its lookup table."""
