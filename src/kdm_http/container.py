"""The composition root: the one place that knows core, adapters and edge."""
