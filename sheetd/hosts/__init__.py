"""Hosts: machines on which attempts are executed, reached over SSH or, on the daemon's own machine, through a socket.

`wire` frames messages, `bootstrap` brings the agent up, `client` asks and listens, `answers` checks what is said.
`ssh` and `local` are the two ways to reach a host, over what `ssh_config` says and `sockets` opens. `session` keeps
one host connected, and `host` ties all of it together as `ports.Host`. Nothing here decides anything about
experiments: what hosts say becomes observations, what cannot be asked becomes an error with a next step.
"""
