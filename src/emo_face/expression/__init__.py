"""From emotion and context to a facial-expression target."""
