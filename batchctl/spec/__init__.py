"""Text on disk to one resolved job spec, whatever dialect it came in."""
