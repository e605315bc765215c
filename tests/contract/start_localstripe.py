"""Starts localstripe on a free port of 127.0.0.1, prints the port, and ends when its standard input does.

localstripe's own command listens on every interface and pickles what it stores to a file of a fixed name in /tmp, so
that one run would read another's charges. What it answers is left as it is, but for one option:

--without-created-filter   drops the parameter `created` from every query, which localstripe refuses to know
"""

import asyncio
import os
import socket
import sys
import threading

from aiohttp import web
from localstripe import resources, server


@web.middleware
async def without_created_filter(request, handler):
    kept = [(name, value) for name, value in request.query.items() if not name.startswith("created")]
    return await handler(request.clone(rel_url=request.rel_url.with_query(kept)))


def end_with_standard_input():
    sys.stdin.read()
    os._exit(0)


def main():
    resources.Store.dump_to_disk = lambda _store: None
    if "--without-created-filter" in sys.argv[1:]:
        server.app.middlewares.insert(0, without_created_filter)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", 0))
    threading.Thread(target=end_with_standard_input, daemon=True).start()
    asyncio.set_event_loop(asyncio.new_event_loop())
    # Connections wait in the socket from here on, so the port may be told before the server runs.
    listener.listen(128)
    print(listener.getsockname()[1], flush=True)
    web.run_app(server.app, sock=listener, print=None, access_log=None)


if __name__ == "__main__":
    main()
