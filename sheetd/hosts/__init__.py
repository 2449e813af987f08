"""Hosts: machines on which attempts are executed, reached over SSH or, on the daemon's own machine, through a socket.

`wire` frames messages, `bootstrap` brings the agent up, `client` asks and listens, `ssh` and `local` are the two ways
to reach a host, `session` keeps one connected, and `host` ties these together as `ports.Host`. Nothing here decides
anything about experiments: what hosts say becomes observations, what cannot be asked becomes an error with a next
step.
"""
