"""Stands in for the real magnum; see ``stand_in.py``."""

import stand_in

stand_in.install(__name__)
