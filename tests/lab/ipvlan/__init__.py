"""A lab whose pods are IPvlan children of their ENIs, in a guest kernel."""
