"""Who looks at what: a page's model and picture, which no other page gets to see."""

import secrets
import tempfile
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

from caffepy import io
from caffepy.errors import ArgumentError
from caffepy.explore.model import Model, opened

_MOST = 32
MODEL_SUFFIXES = (".prototxt", ".pbtxt", ".caffemodel", ".h5", ".hdf5", ".txt")


@dataclass
class Session:
    """One page."""

    model: Model
    folder: tempfile.TemporaryDirectory[str] = field(
        default_factory=lambda: tempfile.TemporaryDirectory(prefix="caffepy-explore-", ignore_cleanup_errors=True)
    )
    picture: Path | None = None
    picture_name: str = ""
    """What the page calls it."""
    picture_written: str = ""
    """Its place as a Python expression."""
    uploads: dict[str, tuple[Path, str]] = field(default_factory=dict)
    """Files of a model by suffix, with what the page calls them."""

    def path(self, suffix: str = "") -> Path:
        """Where an upload goes: a name of our own, in the session's folder."""
        return Path(self.folder.name) / f"{secrets.token_hex(8)}{suffix}"

    def look_at(self, picture: Path, name: str, written: str) -> None:
        """Take a picture; raises ImageError or ArgumentError for a file that is none, and keeps the one before."""
        io.load_image(picture)
        if self.picture is not None and self.picture.parent == Path(self.folder.name):
            self.picture.unlink(missing_ok=True)
        self.picture, self.picture_name, self.picture_written = picture, name, written

    def shown(self) -> Path:
        """The picture; raises ArgumentError while there is none."""
        if self.picture is None:
            raise ArgumentError("there is no picture yet: drop one on the page, or choose a sample")
        return self.picture

    def open(self, mean: str | None, scale: float) -> None:
        """Build the net of the uploaded files, which may only compute; the one before stays where that fails."""
        weights = next((self.uploads[s] for s in (".caffemodel", ".h5", ".hdf5") if s in self.uploads), None)
        definition = next((self.uploads[s] for s in (".prototxt", ".pbtxt") if s in self.uploads), weights)
        if definition is None:
            raise ArgumentError("a model is a .prototxt with a .caffemodel, or a .caffemodel that holds its definition")
        parts = [definition, weights if weights is not definition else None, self.uploads.get(".txt")]
        paths, names = [part and part[0] for part in parts], [part[1] for part in parts if part]
        mean = mean if mean is None or all(c in "0123456789.,-+e " for c in mean) else "none"
        assert paths[0] is not None
        self.model = opened(paths[0], paths[1], labels=paths[2], mean=mean, scale=scale, names=names)
        self.uploads = {}
        if self.picture is not None and self.picture.parent != Path(self.folder.name):
            self.picture = None  # a sample of the model before


class Sessions:
    """The pages by their secret names; the one not heard of longest makes room."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._found: OrderedDict[str, Session] = OrderedDict()

    def new(self) -> tuple[str, Session]:
        """A session that looks at the server's own model."""
        key, session = secrets.token_urlsafe(16), Session(self.model)
        self._found[key] = session
        while len(self._found) > _MOST:
            self._close(self._found.popitem(last=False)[1])
        return key, session

    def get(self, key: str) -> Session | None:
        """The session of that name."""
        if key in self._found:
            self._found.move_to_end(key)
        return self._found.get(key)

    def close(self) -> None:
        """Forget everybody, and remove what they brought."""
        while self._found:
            self._close(self._found.popitem()[1])

    def _close(self, session: Session) -> None:
        session.folder.cleanup()
