"""The releases over HTTP: who may, what is shown, and how a release is told a word."""
