"""Policies in maps of eBPF: what they hold for what was compiled, and what they say, read back."""
