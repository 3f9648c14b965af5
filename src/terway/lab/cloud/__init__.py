"""The emulated cloud: ECS, VPC, STS and the metadata service, with the real wire protocol.

`Cloud` (cloud.py) is the whole of it without a network: calls in, answers out, a clock and a seed
as parameters. `openapi_http.py` and `metadata_http.py` put it on HTTP, `inprocess.py` under the
agent's own client, `provision.py` is how the lab sets up a world in it.
"""
