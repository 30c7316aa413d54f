"""The crash matrix: real parts, and a worker that is killed at every point of four releases.

points.py    where a worker can be killed
nursery.py   workers as processes that are there at once; killing.py the hook inside them
ground.py    Temporal, Envoy, a broker, a stand-in for Prometheus, and slots that use them
plays.py     the four releases, and what their histories tell while they run
matrix.py    one run: play, kill, go on, look at it from outside
__main__.py  all of them, as a table and as JSON (`make chaos`)
"""
