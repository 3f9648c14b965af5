"""The edge of the eBPF data path: its contract, loading, pins, hooks and map contents.

`contract` is the other half of bpf/contract.h; `programs` loads the object and knows its maps.
"""
