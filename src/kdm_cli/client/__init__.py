"""What the commands ask of a kdm, over :mod:`kdm_adapters.remote.client`, and what its errors mean to them."""
