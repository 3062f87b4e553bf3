"""On a GPU: the device's ceilings, each layer and whole nets, beside cuDNN through PyTorch: `python -m benchmarks gpu`.

command.py    the options, and one run
sizes.py      what is measured, and how often; a small choice of it for an emulated GPU
clock.py      medians, with what is in the L2 cache put out of it
cases.py      the distinct layers of the nets, what each computes and moves
engine.py     caffepy: layers and nets on the running device
peer.py       PyTorch: the same, in each of its modes
suite.py      everything in turn, as one result
targets.py    what was to be reached, and whether it was
report.py     the result as tables
"""
