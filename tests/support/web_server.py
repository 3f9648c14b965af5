"""A server of HTTP in a pod: whom it sees, and what it was told of them.

    web_server.py PORT

Each answer is JSON: the pod, the address that asked, and the fields of the request.
"""

from __future__ import annotations

import json
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Both families."""

    address_family = socket.AF_INET6
    request_queue_size = 128


class Handler(BaseHTTPRequestHandler):
    """Answers whatever is asked."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        """Say that it serves."""
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        """Answer with what was asked."""
        asked = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        told = {name.lower(): value for name, value in self.headers.items()}
        body = json.dumps(
            {
                "pod": socket.gethostname(),
                "seen": self.client_address[0].removeprefix("::ffff:"),
                "told": told,
                "body": asked,
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        """Answer, too."""
        self.do_POST()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


if __name__ == "__main__":
    Server(("::", int(sys.argv[1])), Handler).serve_forever()
