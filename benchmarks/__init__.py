"""How fast the pipeline is, on the local market: `python -m benchmarks --json`. What the figures mean: docs/performance.md."""
