"""The decisions: what to accept, where to place, when to relaunch, what to show.

Nothing here opens a file or a socket, reads a clock, draws a number or looks at the environment: time, ids and chance
come in as arguments, and decisions go out as values. That is what lets the same code run under a simulator.
"""
