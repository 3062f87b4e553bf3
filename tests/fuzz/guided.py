"""A target guided by coverage, by Atheris: python -m tests.fuzz.guided TARGET [libFuzzer's options, as -runs=10000].

Without options it runs until it finds something, and leaves that beside, as a file `crash-...`.
"""

import os
import sys
import tempfile
import warnings
from pathlib import Path


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    try:
        import atheris
    except ImportError as error:
        sys.exit(f"Atheris is not installed ({error}): pip install atheris, or use python -m tests.fuzz.campaign")
    with atheris.instrument_imports(include=["caffepy"]):
        from caffepy.errors import CaffeError, InternalError
        from tests.fuzz import nets
        from tests.fuzz.readers import READERS
    warnings.simplefilter("ignore")
    name, *options = sys.argv[1:] or [""]
    if name not in ("layers", *READERS):
        sys.exit(f"there is no target {name!r}; there are layers, {', '.join(READERS)}")
    call = nets.run if name == "layers" else READERS[name].run
    corpus = tempfile.mkdtemp(prefix="caffepy-corpus-")
    for i, seed in enumerate([os.urandom(100)] if name == "layers" else READERS[name].seeds()):
        Path(corpus, str(i)).write_bytes(seed)

    def one(data: bytes) -> None:
        try:
            call(data)
        except InternalError:
            raise
        except CaffeError:
            return

    atheris.Setup([sys.argv[0], "-timeout=10", *options, corpus], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
