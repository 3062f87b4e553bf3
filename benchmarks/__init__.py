"""How fast caffepy is, beside PyTorch: `python -m benchmarks --help`."""
