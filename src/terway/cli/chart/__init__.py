"""The chart that installs terway: which values it takes, and what it makes of them."""
