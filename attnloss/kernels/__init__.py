"""Fused CPU kernels in C++, built on request: `python -m attnloss.kernels.build`. Nothing needs them."""
