"""Passes on the CPU, captured: operations noted once, then repeated as a flat list of calls bound to their memory."""
