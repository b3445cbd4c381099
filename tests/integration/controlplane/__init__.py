"""A real Kubernetes control plane: built from pinned Go modules; started, broken and stopped by tests."""
