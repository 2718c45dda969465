"""Every other path below `/v1/`: requests and answers that are passed on as they are.

In:  a request.
Out: the upstream's answer, of which nothing is read; or a refusal, where what is not read must not
pass.
"""

from __future__ import annotations

import re

from ._client import Upload, until_disconnect, while_connected
from ._failure import Failure
from ._gateway import Call, Gateway
from ._stream import forward
from ._upstream import request_target

__all__ = ["Passing"]

# Whose answers hold no text of a model's.
_TEXTLESS = re.compile(r"/v1/(models(/[^?]*)?|embeddings|messages/count_tokens)(\?.*)?")


class Passing:
    """Passes requests on."""

    def __init__(self, gateway: Gateway, *, fails_closed: bool) -> None:
        self._gateway = gateway
        self._fails_closed = fails_closed

    async def answer(self, call: Call) -> int:
        """Pass a request on, and its answer back; return the status."""
        # CONNECT would open a tunnel, and TRACE would show the client the upstream's key.
        if call.scope["method"] in {"CONNECT", "TRACE"}:
            raise Failure(405, "method_not_allowed", "this method is not passed on")
        if self._fails_closed and not _TEXTLESS.fullmatch(request_target(call.scope)):
            raise Failure(404, "not_checked", "this gateway does not serve what it cannot check")
        upload = Upload(call.scope, call.receive, self._gateway.settings.read_timeout)
        if upload.length == 0:
            return await while_connected(self._pass_on(call, None), until_disconnect(call.receive))
        return await while_connected(self._pass_on(call, upload), upload.receive())

    async def _pass_on(self, call: Call, body: Upload | None) -> int:
        async with self._gateway.ask_upstream(call, body) as response:
            self._gateway.count_failure(await forward(response, call.send))
        return response.status
