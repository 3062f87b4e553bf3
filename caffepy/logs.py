"""Logging through `logging`, silent until asked; GLOG_minloglevel is honoured."""

import logging
import os

_GLOG_VARIABLE = "GLOG_minloglevel"
_GLOG_LEVELS = {"0": logging.INFO, "1": logging.WARNING, "2": logging.ERROR, "3": logging.CRITICAL}


def quiet_as_glog() -> None:
    """Give the `caffepy` logger a handler that drops everything, and a level only where GLOG_minloglevel says so.

    GLOG_minloglevel is 0 (INFO) to 3 (FATAL): with it set, records of that level and above go to stderr, as glog's do.
    """
    log = logging.getLogger("caffepy")
    level = _GLOG_LEVELS.get(os.environ.get(_GLOG_VARIABLE, ""))
    if level is None:
        log.addHandler(logging.NullHandler())
        return
    log.setLevel(level)
    log.addHandler(logging.StreamHandler())
