"""The fabric in plain Python: what becomes of a frame, read from a `VpcState` alone.

It is slow and says the same as bpf/fabric.bpf.c, by other means: it knows nothing of compiled
tables. Tests feed both; `explain` asks it.
"""
