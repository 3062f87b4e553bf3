"""The server: Starlette's routes, a page's requests to looks, errors as messages.

Starlette and uvicorn because they are small, and because the page needs no more: one page, files, JSON and a stream.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from caffepy.errors import ArgumentError, CaffeError
from caffepy.explore import answers
from caffepy.explore.diagram import diagram
from caffepy.explore.guard import Guard
from caffepy.explore.model import Model
from caffepy.explore.sessions import MODEL_SUFFIXES, Session, Sessions
from caffepy.explore.worker import Dropped, Worker

_PICTURE_BYTES, _MODEL_BYTES = 64 << 20, 2 << 30
_NAME = 200  # characters of a file's name that are kept
_HERE = ("127.0.0.1", "localhost")

Endpoint = Callable[[Request], Awaitable[Response]]


def application(model: Model, *, token: str | None = None) -> Starlette:
    """The page for this model and those that are dropped on it.

    token   what a page's address has to name; None: only this machine asks, and hosts are checked instead
    """
    served = _Served(model)
    page = Path(str(files("caffepy.explore"))) / "page"

    async def index(request: Request) -> Response:
        return FileResponse(page / "index.html")

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        served.worker.close()
        served.sessions.close()

    def api(path: str, endpoint: Endpoint, method: str = "GET") -> Route:
        return Route(f"/api/{{key}}/{path}", endpoint, methods=[method])

    return Starlette(
        routes=[
            Route("/", index),
            Mount("/page", StaticFiles(directory=page)),
            Route("/api/sessions", served.begin, methods=["POST"]),
            api("graph", served.graph),
            api("layer", served.layer),
            api("picture", served.upload_picture, "PUT"),
            api("sample", served.sample, "POST"),
            api("files", served.upload_file, "PUT"),
            api("open", served.open, "POST"),
            api("classes", served.classes),
            api("saliency", served.saliency),
            *(api(name, served.sheet(name)) for name in answers.SHEETS),
            *(api(f"{name}.png", served.sheet_png(name)) for name in answers.SHEETS),
            api("synthesis", served.synthesis),
        ],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=_HERE if token is None else ("*",), www_redirect=False),
            Middleware(Guard, token=token),
        ],
        exception_handlers={CaffeError: _refused, KeyError: _incomplete, Dropped: _dropped, ClientDisconnect: _dropped},
        lifespan=lifespan,
    )


def server(model: Model, *, token: str | None = None) -> uvicorn.Server:
    """What serves `application`; its `run(sockets=[...])` ends at Ctrl-C, or when `should_exit` is set."""
    config = uvicorn.Config(
        application(model, token=token),
        ws="none",
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)


class _Served:
    """The endpoints, and what they share: one worker, and the pages' sessions."""

    def __init__(self, model: Model) -> None:
        self.worker, self.sessions = Worker(), Sessions(model)

    # ---- sessions and models

    async def begin(self, request: Request) -> Response:
        key, session = self.sessions.new()
        return JSONResponse({"session": key, "model": session.model.described()})

    async def graph(self, request: Request) -> Response:
        """Laid out beside the worker, since it needs no net."""
        steps, unfolded = self._session(request).model.steps, set(request.query_params.getlist("unfolded"))
        return JSONResponse(await asyncio.to_thread(diagram, steps, unfolded))

    async def layer(self, request: Request) -> Response:
        return JSONResponse(self._session(request).model.layer(request.query_params["name"]))

    async def upload_file(self, request: Request) -> Response:
        """One of a model's files; `open` makes a net of them."""
        session, name = self._session(request), _name(request)
        suffix = Path(name).suffix.lower()
        if suffix not in MODEL_SUFFIXES:
            raise ArgumentError(f"{name!r} is none of a model's files: {', '.join(MODEL_SUFFIXES)}")
        session.uploads[suffix] = await _received(request, session.path(suffix), _MODEL_BYTES), name
        return JSONResponse({"name": name})

    async def open(self, request: Request) -> Response:
        session, query = self._session(request), request.query_params
        scale = float(query["scale"]) if query.get("scale", "").replace(".", "", 1).isdigit() else 255.0
        await self.worker.run(request, lambda: session.open(query.get("mean") or None, scale))
        return JSONResponse({"model": session.model.described(), "picture": session.picture is not None})

    # ---- pictures

    async def upload_picture(self, request: Request) -> Response:
        session, name = self._session(request), _name(request)
        path = await _received(request, session.path(Path(name).suffix[:8]), _PICTURE_BYTES)
        try:
            await asyncio.to_thread(session.look_at, path, name, repr(name))
        except CaffeError:
            path.unlink(missing_ok=True)
            raise
        return JSONResponse({"name": name})

    async def sample(self, request: Request) -> Response:
        session, text = self._session(request), request.query_params["index"]
        samples = session.model.samples
        if not text.isdigit() or int(text) >= len(samples):
            raise ArgumentError(f"there is no sample {text[:20]!r}; there are {len(samples)}")
        session.look_at(samples[int(text)], f"sample {text}", f"model.samples[{text}].picture")
        return JSONResponse({"name": session.picture_name})

    # ---- looks

    async def classes(self, request: Request) -> Response:
        session = self._session(request)
        return JSONResponse(await self.worker.run(request, lambda: answers.picture_seen(session)))

    async def saliency(self, request: Request) -> Response:
        session = self._session(request)
        return JSONResponse(await self.worker.run(request, lambda: answers.saliency_map(session, request.query_params)))

    def sheet(self, name: str) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            session, query = self._session(request), request.query_params
            return JSONResponse(await self.worker.run(request, lambda: answers.sheet(session, name, query)))

        return endpoint

    def sheet_png(self, name: str) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            session, query = self._session(request), request.query_params
            png = await self.worker.run(request, lambda: answers.sheet_png(session, name, query))
            return Response(png, media_type="image/png")

        return endpoint

    async def synthesis(self, request: Request) -> Response:
        """A line of JSON for each step, and the result or an error as the last; ends when the page hangs up."""
        session, query = self._session(request), request.query_params

        async def lines() -> AsyncIterator[str]:
            steps = self.worker.follow(lambda progress: answers.synthesis(session, query, progress))
            try:
                async for said in steps:
                    if await request.is_disconnected():
                        break
                    done = said if isinstance(said, dict) else {"step": said, "of": answers.STEPS}
                    yield json.dumps(done) + "\n"
            except CaffeError as error:
                yield json.dumps(_message(error)) + "\n"
            finally:
                await steps.aclose()  # type: ignore[attr-defined]

        return StreamingResponse(lines(), media_type="application/x-ndjson")

    def _session(self, request: Request) -> Session:
        found = self.sessions.get(request.path_params["key"])
        if found is None:
            raise ArgumentError("this page is no longer known here; the server may have been started again: reload it")
        return found


# ---- requests


def _name(request: Request) -> str:
    """A file's last name, without what could be taken for a path."""
    return Path(request.query_params["name"].replace("\\", "/").replace("\0", "")).name[-_NAME:] or "picture"


async def _received(request: Request, path: Path, most: int) -> Path:
    """The body, in a file; raises ArgumentError where it is larger than `most`."""
    size = 0
    try:
        with path.open("xb") as file:
            async for chunk in request.stream():
                size += len(chunk)
                if size > most:
                    raise ArgumentError(f"the file is larger than {most >> 20} MiB, the most that is taken here")
                file.write(chunk)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


# ---- errors


def _message(error: BaseException) -> dict[str, Any]:
    return {"error": "\n".join([str(error), *getattr(error, "__notes__", ())])}


async def _refused(request: Request, error: Exception) -> Response:
    return JSONResponse(_message(error), 400)


async def _incomplete(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": f"the request lacks {error}"}, 400)


async def _dropped(request: Request, error: Exception) -> Response:
    return Response(status_code=499)
