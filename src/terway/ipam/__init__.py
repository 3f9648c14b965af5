"""Which address goes to whom, and what must be asked of the cloud: the pool of one node.

`step.step` is the only way from one `Pool` to the next; `pool.Pool` is the value, `events` come
in, `commands` go out. Nothing here waits or touches the outside; the time is passed in.
"""
