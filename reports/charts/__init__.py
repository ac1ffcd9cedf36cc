"""The charts, one module each; every public function that draws returns an Altair chart."""
