"""Programs that nobody here wrote use what we wrote."""
