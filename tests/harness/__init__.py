"""What the tests of the running program are made of.

weir.py       one weir process: config, start, readiness, log lines, metrics, stop
upstream.py   a scripted model provider on raw sockets: what it got, and what it does to the caller
rawhttp.py    a client that sends and compares bytes
telling_upstream.py  a provider as a process of its own, to be killed
recordings.py recorded provider traffic (WEIR_WIRE_DIR)
sse.py        server-sent events, enough to say what a client should have got
certs.py      certificates made by the openssl command
listener.py   a port, and a thread for each connection to it
proxy.py      a CONNECT proxy
hosts.py      a private /etc/hosts for one process
node.py       Node scripts and the npm packages they need
"""
