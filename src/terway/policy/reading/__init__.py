"""What do manifests and cases say? Untyped objects become values of this room, or are refused."""
