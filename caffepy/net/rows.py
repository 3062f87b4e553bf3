"""Layers whose tops' rows a GPU counts: passes go on without the host, with room for as many as there may be."""

from collections.abc import Collection, Mapping, Sequence

from caffepy import device, graph
from caffepy.blob import Blob, SyncedArray
from caffepy.layer import Layer


def counting(layers: Sequence[Layer], wiring: graph.Wiring) -> set[int]:
    """Which layers may leave their rows uncounted: no layer behind them makes anything of rows that are not there."""
    return {i for i, layer in enumerate(layers) if (room := layer.room()) and _left_apart(i, room[0], layers, wiring)}


def _left_apart(i: int, axis: int, layers: Sequence[Layer], wiring: graph.Wiring) -> bool:
    counted = set(wiring.tops[i])
    for j in range(i + 1, len(layers)):
        bottoms, tops = wiring.bottoms[j], wiring.tops[j]
        taken = [place for place, blob in enumerate(bottoms) if blob in counted]
        if not taken or layers[j].type == "Silence":
            continue
        if layers[j].type != "Split" and (axis != 0 or taken != list(layers[j].row_bottoms)):
            return False
        counted.update(tops)
    return True


def clear_missing(blobs: Sequence[Blob], wiring: graph.Wiring, propagate_down: Mapping[int, Collection[bool]]) -> None:
    """Write zeros behind the rows of diffs that a backward pass starts from: whoever wrote them knew only the rows."""
    computed: set[SyncedArray] = set()
    for i, down in propagate_down.items():
        for blob in (blobs[top] for top in wiring.tops[i]):
            if blob.rows is not None and blob.diff_storage not in computed:
                whole = blob.diff_storage.array(blob.whole_count, "update")
                device.current().fill(whole[blob.count :], 0)
        computed |= {blobs[bottom].diff_storage for bottom, goes in zip(wiring.bottoms[i], down, strict=True) if goes}
