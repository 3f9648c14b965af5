"""What did the user ask for, and is it possible? The ConfigMap eni-config, parsed strictly.

`agent_config` puts the whole together: `eni_conf` (`eni_conf.py`, with a node's merge patch,
`merge.py`) and the CNI configuration (`cni_conf.py`). Everything raises UsageError with the field's
path, its value and what to write instead; what is understood but does nothing is a `Caution`.
"""
