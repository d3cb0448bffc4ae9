"""Agents by Stable-Baselines3 (TRAINER sb3): built from the config, stopped and resumed exactly, kept as plain data."""
