"""What is measured, for Prometheus. Every process writes to files of the run directory; /metrics adds them up.

prometheus-client reads PROMETHEUS_MULTIPROC_DIR when it is imported, so it must be set before these modules are.
"""
