"""Evaluation of the audition tasks: agents, episodes, scores, tables, report."""
