"""Who may ask: only pages that this server gave out. Starlette's TrustedHostMiddleware checks the Host beside it."""

import hmac
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Refuses requests from pages of other origins and, where there is a token, pages that do not name it."""

    def __init__(self, app: ASGIApp, token: str | None) -> None:
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        why = self._refusal(headers) or self._wrong_token(scope)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        answer = PlainTextResponse(why, 403) if why else self._app
        await answer(scope, receive, with_headers)

    @staticmethod
    def _refusal(headers: Headers) -> str | None:
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != headers.get("host"):
            return "This page belongs to another site; open the address that caffepy explore has printed."
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return "Another site has sent you here; open the address that caffepy explore has printed."
        return None

    def _wrong_token(self, scope: Scope) -> str | None:
        """Why the page is not given out. Its files hold no secrets, and whatever does is under a session's name."""
        if self._token is None or scope["path"] not in ("/", "/api/sessions"):
            return None
        given = QueryParams(scope["query_string"]).get("token", "")
        if hmac.compare_digest(given.encode(), self._token.encode()):
            return None
        return "This address lacks its token; open the address that caffepy explore has printed."
