"""Terway: pods of a Kubernetes cluster get addresses of the VPC itself."""

__version__ = "0.1.0"
