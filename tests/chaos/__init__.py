"""Real parts that die: the crash matrix, rollbacks with faults at every call, outages under load.

points.py         where a worker can be killed
supervisor.py     workers as processes that are there at once; killing.py the hook inside them
testbed.py        Temporal, Envoy, a broker, a stand-in for Prometheus, and slots that use them
scenarios.py      the four releases, and what their histories tell while they run
matrix.py         one run: a scenario, a kill, on to the end, a look at it from outside
rollback_order.py every activity call goes wrong; faults.py says how
ingestion.py      bridge and webhook die between their own steps; dying.py is the process that does
outages/          every part of the embedded stack dies under load
server.py         a Temporal that has time to come up
rows.py           what became of it, as a table and as JSON
__main__.py       all of them (`make chaos`)

Here belongs what a promise is worth when parts die. What holds while all is well does not
(`tests/workflows`, `tests/e2e`).
"""
