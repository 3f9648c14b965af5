"""How to say it to the Kubernetes API: typed resources, list, watch, patch, events, leases.

An edge room: it carries out what others decided, and translates errors. `client.KubeClient` is
the connection, `types` what we read of each object, `informer.Informer` a copy kept up to date.
"""
