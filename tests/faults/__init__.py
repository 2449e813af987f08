"""Every fault of Google's API (G) and of what people do to a sheet (S), over HTTP against a real sheet."""
