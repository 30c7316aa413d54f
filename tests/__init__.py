"""Tests, in groups that share no server (`groups.py`), each a folder.

Here belongs what several groups need. A promise is tested where the least of the outside is needed
to see it broken; what is not a test's own need does not belong here.
"""
