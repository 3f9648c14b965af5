"""The CNI plugin and the protocol behind it.

`terway.c` is the program that a container runtime executes; it forwards to terwayd. The modules
here are what terwayd understands the request and words the answer with: all pure.
"""
