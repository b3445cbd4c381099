"""A repository on a Kubernetes cluster, read from a watch cache."""
