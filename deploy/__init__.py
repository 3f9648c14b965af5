"""What installs terway in a cluster: the chart, and the manifests made from it."""
