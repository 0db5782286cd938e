"""The REST scoring service: HTTP in front, a worker that owns the device behind a ZeroMQ link."""
