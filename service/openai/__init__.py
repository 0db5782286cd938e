"""The OpenAI API for scoring, API side: what requests hold, the jobs that they become, and how answers are laid out."""
