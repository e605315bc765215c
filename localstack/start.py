"""Starts MiniStack, as its `ministack` command does, with replies that leave at once.

Its Lambda Runtime API writes a reply in two segments.
With Nagle's algorithm on, the second waits for the delayed acknowledgement of the first: 56 ms for a warm
invocation instead of 9.
"""

import socketserver

socketserver.StreamRequestHandler.disable_nagle_algorithm = True

from ministack.app import main  # noqa: E402  after the setting above

main()
