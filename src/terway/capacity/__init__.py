"""How many pods fit on a node? Arithmetic over the limits of its instance type."""
