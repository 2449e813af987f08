"""sheetd as its users meet it: real processes, real sshd, a real sheet over HTTP."""
