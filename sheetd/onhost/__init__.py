"""What is shipped to hosts: stage 0, the agent with its supervisor, and the library that jobs import.

Nothing here imports sheetd, and everything runs on the Python 3.6 of an old cluster with the standard library alone.
The daemon reads these files as text and sends them; it never imports the agent.
"""
