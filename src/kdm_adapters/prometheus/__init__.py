"""Metrics for Prometheus."""

from kdm_adapters.prometheus.instrument import PrometheusInstrument

__all__ = ["PrometheusInstrument"]
