"""Who is let in, what a caller may cost, and which secrets are shown nowhere."""
