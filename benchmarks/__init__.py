"""Benchmarks: micrornn against PyTorch and JAX, same shapes, same threads, in turn. See README.md beside this file."""
