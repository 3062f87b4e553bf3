"""What the page is told: results as plain data, each with the Python lines that make it."""

import base64
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from caffepy.errors import ArgumentError
from caffepy.explore import looks
from caffepy.explore.looks import Sheet
from caffepy.explore.sessions import Session
from caffepy.saliency import Unit, named, pictures, visualize_class
from caffepy.saliency.result import shown
from caffepy.saliency.synthesis.objectives import CLASS

Query = Mapping[str, str]
Answer = dict[str, Any]
Look = tuple[Sheet, str]
"""What is seen, and the call that sees it."""

STEPS = 96
"""Of a synthesis."""

_SIDE = 448  # pixels of a map's longer side


def picture_seen(session: Session) -> Answer:
    """The picture as the net sees it, and the best classes."""
    net = session.model.net
    data = looks.run(net, session.shown())
    picture = pictures.enlarged(pictures.to_picture(shown(data[0], net.preprocess)), _SIDE)
    try:
        classes, why = session.model.classes(), None
    except ArgumentError as error:
        classes, why = [], str(error)
    lines = ["looks.run(net, picture)", "print(saliency.class_values(net)[0])"]
    return {
        "name": session.picture_name,
        "png": _url(picture),
        "classes": classes,
        "why_no_classes": why,
        "python": _python(session, *lines),
    }


def saliency_map(session: Session, query: Query) -> Answer:
    """The map of a method: of a class, or of a channel of a blob."""
    method = named(query.get("method", "gradient"))
    target, written = _target(session, query)
    options = _output(session)
    found = method(session.model.net, session.shown(), target, **options)
    panel = found.panel(longest=_SIDE)
    over = pictures.glaze(found.upsampled()[0], found.images.shape[2:], _SIDE, signed=found.signed)
    lines = [
        f'result = saliency.named("{method.name}")(net, picture, {written}{_options(options)})',
        f'saliency.pictures.save(result.panel(longest={_SIDE}).picture, "{method.name}.png")',
    ]
    return {
        "method": method.name,
        "target": found.target[0],
        "score": float(found.score[0]),
        "signed": found.signed,
        "png": _url(panel.picture),
        "over": _url(over),
        "python": _python(session, *lines),
    }


def _features(session: Session, query: Query) -> Look:
    """A blob's channels."""
    blob, first = query["blob"], _first(query)
    found = looks.features(session.model.net, session.shown(), blob, first=first)
    return found, f"looks.features(net, picture, {blob!r}, first={first})"


def _gradients(session: Session, query: Query) -> Look:
    """The gradient at a blob."""
    blob, first = query["blob"], _first(query)
    target, written = _target(session, query)
    options = _output(session)
    found = looks.gradients(session.model.net, session.shown(), blob, target, first=first, **options)
    return found, f"looks.gradients(net, picture, {blob!r}, {written}, first={first}{_options(options)})"


def _filters(session: Session, query: Query) -> Look:
    """A layer's weights as pictures."""
    layer, first = query["layer"], _first(query)
    return looks.filters(session.model.net, layer, first=first), f"looks.filters(net, {layer!r}, first={first})"


SHEETS: dict[str, Callable[[Session, Query], Look]] = {
    "features": _features,
    "gradients": _gradients,
    "filters": _filters,
}


def sheet(session: Session, look: str, query: Query) -> Answer:
    """What is on the sheet of a look of SHEETS, cell by cell."""
    found, call = SHEETS[look](session, query)
    labels = session.model.net.labels if session.model.net.labels else ()
    named_cells = not found.cells and found.total == len(labels)
    cells = [
        {
            "channel": channel,
            "value": value,
            "label": labels[channel] if named_cells else None,
            "png": _url(found.cells[i]) if found.cells else None,
        }
        for i, (channel, value) in enumerate(zip(found.channels, found.values, strict=True))
    ]
    python = _python(session, f'{call}.save("sheet.png")')
    return {"what": found.what, "total": found.total, "cells": cells, "python": python}


def sheet_png(session: Session, look: str, query: Query) -> bytes:
    """The same as one picture, which takes a while to put together: for whoever saves it."""
    found, _ = SHEETS[look](session, query)
    return pictures.png(found.picture())


def synthesis(session: Session, query: Query, progress: Callable[[], object]) -> Answer:
    """What a class or a channel would like to see."""
    target, written = _target(session, query)
    ascent = replace(CLASS, steps=STEPS, octaves=1)
    found = visualize_class(session.model.net, target, output=session.model.output, ascent=ascent, progress=progress)
    lines = [
        f"ascent = saliency.Ascent({', '.join(f'{name}={getattr(ascent, name)!r}' for name in _ASCENT)})",
        f"found = saliency.visualize_class(net, {written}, output={session.model.output!r}, ascent=ascent)",
        f'found.save("synthesis.png", longest={_SIDE})',
    ]
    picture = pictures.enlarged(found.picture(), _SIDE)
    return {"what": found.what, "score": found.score, "png": _url(picture), "python": _python(session, *lines)}


_ASCENT = ("steps", "rate", "decay", "jitter", "blur", "blur_every", "octaves")


def _target(session: Session, query: Query) -> tuple[Any, str]:
    """A channel of a blob where the request names one, else a class; and how that is written."""
    if "channel" in query:
        channel = _number(query, "channel")
        return Unit(query["blob"], channel), f"saliency.Unit({query['blob']!r}, {channel})"
    target = session.model.target(query.get("target", "top"))
    return target, repr(target)


def _output(session: Session) -> dict[str, Any]:
    """Which blob says the classes, where that is to be said."""
    return {} if len(session.model.net.outputs) == 1 else {"output": session.model.output}


def _options(options: Mapping[str, Any]) -> str:
    return "".join(f", {name}={value!r}" for name, value in options.items())


def _first(query: Query) -> int:
    return max(0, _number(query, "first"))


def _number(query: Query, name: str) -> int:
    text = query.get(name, "0")
    if not text.isdigit() or len(text) > 9:
        raise ArgumentError(f"{name} is {text[:20]!r}; expected a number")
    return int(text)


def _python(session: Session, *lines: str) -> str:
    opening = [*session.model.opening]
    if any("picture" in line for line in lines):
        opening.append(f"picture = {session.picture_written}")
    return "\n".join([*opening, *lines, ""])


def _url(picture: pictures.Picture) -> str:
    return "data:image/png;base64," + base64.b64encode(pictures.png(picture)).decode()
