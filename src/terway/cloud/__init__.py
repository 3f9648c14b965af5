"""The edge to the cloud: its OpenAPI (ECS, VPC) and the metadata service of the instance.

Speaks the wire protocol, translates foreign errors once, and decides nothing: no retries of its
own, no pooling of addresses, no choice of vSwitch.
"""
