"""The language of schedule rules: its words, the registry of rules, and the orders that rules produce."""
