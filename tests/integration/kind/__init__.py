"""kdm on a kind cluster: `make deploy`, and `nox -s kind`, which tests on one."""
