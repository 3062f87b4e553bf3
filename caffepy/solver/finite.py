"""Where a net first leaves the numbers."""

import numpy as np

from caffepy.net import Net


def first_not_finite(net: Net) -> str:
    """Which layer's output is the first that is not finite in the last forward pass, in words; "" if none is."""
    for i, layer in enumerate(net.execution.layers):
        for top in net.wiring.tops[i]:
            data = net.execution.blobs[top].read()
            wrong = int(data.size - np.isfinite(data).sum())
            if wrong:
                writers = [net.execution.layers[k] for k, tops in enumerate(net.wiring.tops) if top in tops and k >= i]
                names = " or ".join(f"{writer.name!r} ({writer.type})" for writer in writers)
                weights = (
                    "" if all(np.isfinite(blob.read()).all() for blob in layer.blobs) else ", whose weights are not"
                )
                return (
                    f"the first output that is not finite is that of layer {names}{weights}: {wrong} of {data.size} "
                    f"values of {net.wiring.blobs[top]!r}"
                )
    return ""
