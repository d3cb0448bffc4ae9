"""Evaluation of the tasks that agents by Stable-Baselines3 learn."""
