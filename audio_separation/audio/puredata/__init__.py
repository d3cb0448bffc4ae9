"""Pure Data as a second back end of the synthesizers: patches, headless rendering."""
