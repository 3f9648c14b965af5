"""Services of type LoadBalancer, at the cloud: `loadbalancer` decides, this carries out.

`objects` and `endpoints` read the API, `finding` and `doing` call the cloud. `service` is the
controller: `rounds` makes what is wanted, `leaving` takes away what is not, `opening` and `gates`
tell pods.
"""
