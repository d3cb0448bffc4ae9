"""The step signal: flatten a noiseless step to a level by a low-pass filter and an offset."""
