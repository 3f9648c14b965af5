"""The eBPF data path in terwayd: its endpoints, its maps, and what it tells."""
