"""A chat endpoint on 127.0.0.1 that keeps books like a real one: every answer is charged, once for a key it honours."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

GOOD = "[Expected situation]: He waits for a bus that never comes. [Expected quote]: “Where is it, then?”"


class FakeEndpoint:
    """``answer(body, number)`` -> text, or (status, headers, text) for anything but a completion.

    Attributes:
        calls: times that each key was asked. charged: answers made for each key (once where it honours keys).
        finished: keys whose answer was sent to the end.
    """

    def __init__(self, answer: Callable[[dict[str, Any], int], Any] | None = None, seconds: float = 0.0) -> None:
        self.answer = answer or (lambda body, number: GOOD)
        self.seconds, self.calls, self.charged, self.finished = seconds, Counter(), Counter(), Counter()
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.handle(self)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def handle(self, http: BaseHTTPRequestHandler) -> None:
        body = json.loads(http.rfile.read(int(http.headers["Content-Length"])))
        key = http.headers["Idempotency-Key"]
        with self._lock:
            number = len(self.bodies)
            self.bodies.append(body | {"path": http.path})
            self.headers.append(dict(http.headers))
            self.calls[key] += 1
            self.charged[key] = 1
        result = self.answer(body, number)
        time.sleep(self.seconds)
        status, headers, text = result if isinstance(result, tuple) else (200, {}, self.completion(result))
        data = text.encode()
        try:
            http.send_response(status)
            for name, value in {"Content-Length": str(len(data)), **headers}.items():
                http.send_header(name, value)
            http.end_headers()
            http.wfile.write(data)
            http.wfile.flush()
        except OSError:
            return
        with self._lock:
            self.finished[key] += 1

    @staticmethod
    def completion(text: Any) -> str:
        message = text if isinstance(text, dict) else {"content": text}
        usage = {"prompt_tokens": 1000, "completion_tokens": 50}
        return json.dumps(
            {"model": "fake-2026", "choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}
        )

    def __enter__(self) -> FakeEndpoint:
        return self

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.server.server_close()
