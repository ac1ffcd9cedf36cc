"""The charts, a module each; every function returns an Altair chart."""
