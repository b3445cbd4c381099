"""kdm as Pods on a real kubelet: installed, upgraded and broken under load."""
