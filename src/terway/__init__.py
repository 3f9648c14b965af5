"""Terway: pods of a Kubernetes cluster get addresses of the VPC itself."""
