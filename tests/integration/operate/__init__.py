"""What operators see of kdm: alerts, dashboard and traces, with a real Prometheus and a real OTLP receiver."""
