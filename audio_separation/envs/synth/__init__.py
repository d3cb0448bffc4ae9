"""The listening agent: it plays a synthesizer so that it sounds like what it hears."""
