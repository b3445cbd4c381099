"""The Helm chart, rendered, judged, and installed on a real API server."""
