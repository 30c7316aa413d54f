"""Every document, event, message, id and status, as frozen models that refuse what is wrong.

Here belongs what more than one process reads or writes, with its bounds. What asks the outside,
knows a clock or decides what happens next does not: nothing here imports another of our packages.
"""
