"""The Open Inference Protocol (v2) with its binary tensor extension: what crosses, and how it becomes a job."""
