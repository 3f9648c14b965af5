"""The rules of nftables that enforce what was compiled: printed, read back, run on paper."""
