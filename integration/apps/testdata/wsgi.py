"""An application for gunicorn (PEP 3333)."""

import os
import time

NAME = os.environ["APP_NAME"].encode()


def app(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        time.sleep(0.1)
    if environ["REQUEST_METHOD"] == "POST":
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(NAME)))])
    return [NAME]
