"""What survives a crash: the journal of attachments, addresses, ENIs and intents.

`records` are the values, `sqlite` keeps them on disk, `memory` is the fake for tests; both pass
the same contract suite. `StoreError` is raised for a file that cannot be used.
"""
