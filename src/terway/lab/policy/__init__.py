"""Policy cases in packets: pods of the lab, policies through its API, a connection for each probe.

`run.CaseRunner` puts it together: `cases` and `translate` say what a case means in a VPC whose
addresses cannot be chosen, `cluster` makes it so, `inforce` waits, `prober` connects.
"""
