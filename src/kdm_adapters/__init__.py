"""Adapters for kdm's ports. Import the one you need: ``kdm_adapters.memory``, ``kdm_adapters.kubernetes``, ..."""
