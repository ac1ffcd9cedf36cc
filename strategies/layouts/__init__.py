"""Layouts: the notations in which frameworks assign layers to stages, with a parser and a writer for each."""
