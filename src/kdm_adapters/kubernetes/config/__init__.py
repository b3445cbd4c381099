"""What a kubeconfig or a Pod's service account says: which cluster, how to reach it, and as whom."""
