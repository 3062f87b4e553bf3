"""Nothing here can run without a C++ compiler: then every test is skipped, saying so."""

import pytest

from tests.cuda_on_cpu import unavailable


@pytest.fixture(autouse=True)
def _compiler() -> None:
    reason = unavailable()
    if reason is not None:
        pytest.skip(reason)
