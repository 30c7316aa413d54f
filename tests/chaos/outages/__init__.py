"""Outages under load: one part dies, freezes or lies while four releases are under way.

wire.py        a TCP connection that can be frozen or cut
skewed.py      one of Aviary's processes with its clock off
site.py        the embedded stack, with parts that die and come back
faults.py      what goes wrong, and how it ends
releases.py    the four releases that each fault meets
invariants.py  what must hold afterwards, asked of the parts themselves
run.py         one fault after the other
"""
