"""Boxes: proposed, pooled, matched, suppressed and judged, and the losses of what predicts them."""
