"""An application for uvicorn (ASGI 3)."""

import asyncio
import os

NAME = os.environ["APP_NAME"].encode()


async def app(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    while (await receive()).get("more_body"):
        pass
    if scope["path"] == "/slow":
        await asyncio.sleep(0.1)
    headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(NAME)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": NAME})
