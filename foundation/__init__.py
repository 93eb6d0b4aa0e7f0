"""The base of all layers: the error tree, redaction of secrets, clean text and limits."""
