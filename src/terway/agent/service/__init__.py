"""Services of the cluster on this node: heard of, compiled, in the data path's maps, told."""
