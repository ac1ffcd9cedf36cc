"""The words in which a schedule's rule is written, and how rules are found and written out."""
