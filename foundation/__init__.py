"""What all layers stand on: the error tree, redaction of secrets, clean text, limits and who asks."""
