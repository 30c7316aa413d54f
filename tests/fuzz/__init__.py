"""Odd inputs without end: every parser of what comes from outside answers or refuses, in bounds."""
