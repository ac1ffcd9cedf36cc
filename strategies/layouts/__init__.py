"""How frameworks write which layers lie on which stage: each is read by a parser of its own grammar, and written."""
