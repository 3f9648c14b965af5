"""From a cluster and its changes to what a place must enforce: atoms, classes, rule sets."""
