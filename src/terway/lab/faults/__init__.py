"""Faults as data: histories of pods and of what goes wrong, run, judged, shrunk and replayed.

The agent under test is the real one; cloud, kernel, disk, API server and runtime are those of
this room, on a clock on which time passes only when nobody has anything to do.
"""
