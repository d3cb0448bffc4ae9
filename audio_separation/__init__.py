"""Active audio-visual separation: a benchmark and a training system."""
