"""Logging through `logging`, silent until asked, in glog's format; GLOG_minloglevel is honoured."""

import logging
import os
import threading
import time

_GLOG_VARIABLE = "GLOG_minloglevel"
_GLOG_LEVELS = {"0": logging.INFO, "1": logging.WARNING, "2": logging.ERROR, "3": logging.CRITICAL}


class GlogFormatter(logging.Formatter):
    """glog's lines: `I1128 07:20:49.489862 28913 solver.cpp:45] Text`, by which scripts find time and place.

    `year` puts the year before month and day, as glog does since 0.5. The place is the `place` given to the record as
    extra, a file of Caffe and its line, else where the call stands here.
    """

    def __init__(self, *, year: bool = False) -> None:
        super().__init__()
        self._date = "%Y%m%d" if year else "%m%d"

    def format(self, record: logging.LogRecord) -> str:
        """The record as a line, and further ones where its text has some."""
        when = time.strftime(f"{self._date} %H:%M:%S", time.localtime(record.created))
        place = getattr(record, "place", f"{record.filename}:{record.lineno}")
        letter = "F" if record.levelno >= logging.CRITICAL else record.levelname[0]
        head = f"{letter}{when}.{int(record.created % 1 * 1e6):06d} {threading.get_native_id():5d} {place}]"
        text = f"{head} {record.getMessage()}"
        return f"{text}\n{self.formatException(record.exc_info)}" if record.exc_info else text


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
    handler = logging.StreamHandler()
    handler.setFormatter(GlogFormatter())
    log.addHandler(handler)
