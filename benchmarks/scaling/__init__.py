"""How kdm's costs grow: with the number of Deployments, and with the number of kdm's own replicas."""
