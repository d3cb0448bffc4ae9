"""A trained agent plays live: OSC between our process and Pure Data, and dry runs from a sound file."""
