"""Every fault of Google's API (G) and of what people do to a sheet (S), brought about over HTTP against a real sheet."""
