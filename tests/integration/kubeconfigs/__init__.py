"""The oracle of kubeconfigs is kubectl: the same files and environment are given to it and to kdm, and compared."""
