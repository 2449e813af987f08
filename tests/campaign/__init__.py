"""Campaigns: the real thing on real sshd hosts, under faults drawn from a seed, judged from outside.

Run by hand, with progress and a summary as JSON in the last line; short ones are tests. `python -m tests.campaign`.
"""
