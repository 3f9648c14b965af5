"""A small netlink codec: messages to and from bytes, and the socket that carries them.

`link`, `address`, `route`, `rule`, `neighbour` and `traffic` make a `Request` (changes something)
or a `Query` (reads something); `socket.RouteSocket` sends them. Written for the pod's path, where
a message may cost microseconds; the tests compare it with pyroute2.
"""
