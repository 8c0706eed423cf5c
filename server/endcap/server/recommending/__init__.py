"""One answer to Recommend, from the candidates to the slate."""
