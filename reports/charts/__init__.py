"""The charts, one module each, with the words that belong to them; each function that draws returns an Altair chart."""
