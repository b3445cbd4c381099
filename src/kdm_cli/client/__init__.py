"""Single calls to a kdm, over its API v2: blocking, without a cache, and quick to import.

It stands on the standard library. httpx would cost 150 ms of processor time at each start, the core another 160 ms, and
``kdm get`` has 250 ms in all.
"""
