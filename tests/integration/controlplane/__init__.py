"""A real Kubernetes control plane on one machine: built from pinned Go modules, started, broken and stopped by tests."""
