"""Real parts that die: the crash matrix, unwinding at every call, and outages under load.

points.py    where a worker can be killed
nursery.py   workers as processes that are there at once; killing.py the hook inside them
ground.py    Temporal, Envoy, a broker, a stand-in for Prometheus, and slots that use them
plays.py     the four releases, and what their histories tell while they run
matrix.py    one run: play, kill, go on, look at it from outside
unwinding.py every activity call goes wrong; faults.py says how
intake.py    bridge and webhook die between their own steps; dying.py is the process that does
outages/     every part of the embedded stack dies under load
server.py    a Temporal that has time to come up
rows.py      what became of it, as a table and as JSON
__main__.py  all of them (`make chaos`)
"""
