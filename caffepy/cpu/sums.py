"""What is added to a weight's diff: written to its place where that is known to be zero."""

from caffepy.blob import Floats
from caffepy.cpu.build import Builder
from caffepy.cpu.homes import DST, SRC, reorder
from caffepy.device.onednn.handles import Attributes, Layout, contiguous


class Sum:
    """`memory`, in `layout`, is what the next step has to write; then `finish` adds it to what stands in `diff`."""

    def __init__(self, b: Builder, diff: Floats, layout: Layout) -> None:
        self._builder, self._diff = b, diff
        self._alone = b.zeros(diff) and (layout.size == diff.nbytes or not layout.plain)
        self.memory = b.write(diff, layout) if self._alone else b.temporary(layout)

    def finish(self) -> None:
        """Add it to the diff, in the layout that the diff is in."""
        if self._alone:
            return
        b, form = self._builder, self._builder.form(self._diff)
        source = self.memory
        if form.shape != source.layout.shape:
            form = contiguous(source.layout.shape)
        add = reorder(source.layout, form, Attributes(add=True))
        b.add(add, {SRC: source, DST: b.update(self._diff, form)})
