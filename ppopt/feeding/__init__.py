"""The order in which microbatches are fed to a schedule."""
