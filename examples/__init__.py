"""What the article behind attnloss claims, each claim as an experiment with a number: see docs/article.md."""
