"""Evaluation of the step signal, and what is wrong with the environment of the question behind it, measured."""
