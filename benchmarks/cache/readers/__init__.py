"""What is measured: a module for each reader in Python. The one in Go is in benchmarks/peers/clientgo."""
