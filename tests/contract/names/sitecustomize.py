"""Names below `localhost` are this computer, as in scripts/lib/localhost-names.mjs. Python loads this from PYTHONPATH."""

import socket

_getaddrinfo = socket.getaddrinfo


def getaddrinfo(host, *args, **options):
    if isinstance(host, str) and host.lower().endswith(".localhost"):
        host = "localhost"
    return _getaddrinfo(host, *args, **options)


socket.getaddrinfo = getaddrinfo
