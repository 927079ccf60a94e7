"""What an Ethos-U takes: one rule is one predicate whose docstring says what is allowed."""
