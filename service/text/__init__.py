"""Text endpoints, worker side: from a text to token arrays, and from a model's arrays to what is said of the text."""
