"""The server by itself: who may ask, what is answered, and what happens to those who leave."""

import base64
import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caffepy.explore import model as models
from tests.explore.nets import branches, picture, saved

pytest.importorskip("starlette", reason="caffepy explore takes caffepy[web]")
TestClient = pytest.importorskip("starlette.testclient", reason="tests of the server take httpx").TestClient
application = pytest.importorskip("caffepy.explore.app").application

HERE = {"base_url": "http://127.0.0.1:8420"}


@pytest.fixture
def client() -> Iterator[Any]:
    with TestClient(application(models.embedded()), **HERE) as opened:
        yield opened


@pytest.fixture
def api(client) -> str:
    return f"/api/{client.post('/api/sessions').json()['session']}"


def put(client, path: str, file: Path) -> Any:
    return client.put(path, params={"name": file.name}, content=file.read_bytes())


def open_model(client, api: str, *files: Path) -> Any:
    for file in files:
        assert put(client, f"{api}/files", file).status_code == 200
    return client.post(f"{api}/open")


# ---- who may ask


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8420", ""])
def test_another_host_is_refused(client, host: str) -> None:
    assert client.get("/", headers={"host": host}).status_code == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "http://127.0.0.1:1"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_another_origin_is_refused(client, headers: dict[str, str]) -> None:
    answer = client.post("/api/sessions", headers=headers)
    assert answer.status_code == 403
    assert "open the address that caffepy explore has printed" in answer.text


def test_this_page_is_served(client) -> None:
    answer = client.get("/", headers={"origin": "http://127.0.0.1:8420", "sec-fetch-site": "none"})
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


def test_elsewhere_it_takes_the_token() -> None:
    with TestClient(application(models.embedded(), token="secret"), base_url="http://10.0.0.7:80") as client:
        assert client.get("/").status_code == 403
        assert client.post("/api/sessions").status_code == 403
        assert client.post("/api/sessions", params={"token": "secreT"}).status_code == 403
        assert client.get("/", params={"token": "secret"}).status_code == 200
        assert client.post("/api/sessions", params={"token": "secret"}).status_code == 200


def test_sessions_do_not_see_one_another(client, api: str, tmp_path: Path) -> None:
    other = f"/api/{client.post('/api/sessions').json()['session']}"
    assert put(client, f"{api}/picture", picture(tmp_path)).status_code == 200
    assert "no picture yet" in client.get(f"{other}/classes").json()["error"]
    assert "no longer known" in client.get("/api/guessed/classes").json()["error"]
    client.post(f"{other}/sample", params={"index": 3})
    assert client.get(f"{api}/classes").json()["name"] == "picture.png"
    assert client.get(f"{other}/classes").json()["name"] == "sample 3"


def test_files_go_with_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with TestClient(application(models.embedded()), **HERE) as client:
        api = f"/api/{client.post('/api/sessions').json()['session']}"
        put(client, f"{api}/picture", picture(tmp_path))
        assert list(tmp_path.glob("caffepy-explore-*/*"))
    assert not list(tmp_path.glob("caffepy-explore-*"))


# ---- answers


def decoded(address: str) -> np.ndarray:
    from PIL import Image

    head, _, text = address.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_what_the_page_shows_is_what_its_python_makes(client, api: str, tmp_path: Path, monkeypatch) -> None:
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    client.post(f"{api}/sample", params={"index": 2})
    looks = {
        "saliency": ({"method": "guided-backprop", "target": "Shirt"}, "guided-backprop.png"),
        "features": ({"blob": "conv2"}, "sheet.png"),
        "gradients": ({"blob": "conv1", "target": "3"}, "sheet.png"),
        "filters": ({"layer": "conv1"}, "sheet.png"),
    }
    for look, (query, file) in looks.items():
        answer = client.get(f"{api}/{look}", params=query).json()
        exec(compile(answer["python"], look, "exec"), {})
        if look == "saliency":
            shown = decoded(answer["png"])
        else:
            sheet = client.get(f"{api}/{look}.png", params=query)
            assert sheet.headers["content-type"] == "image/png"
            shown = np.asarray(Image.open(io.BytesIO(sheet.content)))
            assert "png" not in answer
        with Image.open(file) as made:
            assert np.array_equal(shown, np.asarray(made)), look
    unit = client.get(f"{api}/saliency", params={"method": "gradient", "blob": "conv2", "channel": 5}).json()
    assert unit["target"] == "conv2[5]"
    exec(compile(unit["python"], "unit", "exec"), {})
    with Image.open("gradient.png") as made:
        assert np.array_equal(decoded(unit["png"]), np.asarray(made))


def test_a_synthesis_tells_its_steps(client, api: str, tmp_path: Path, monkeypatch) -> None:
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    lines = client.get(f"{api}/synthesis", params={"blob": "conv3", "channel": 1}).text.splitlines()
    said = [caffe_json(line) for line in lines]
    assert [one["step"] for one in said[:-1]] == list(range(1, 97))
    exec(compile(said[-1]["python"], "synthesis", "exec"), {})
    with Image.open("synthesis.png") as made:
        assert np.array_equal(decoded(said[-1]["png"]), np.asarray(made))


def caffe_json(line: str) -> dict[str, Any]:
    import json

    found: dict[str, Any] = json.loads(line)
    return found


def test_a_model_of_files(client, api: str, tmp_path: Path, monkeypatch) -> None:
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join("abcdefg"))
    answer = open_model(client, api, *saved(tmp_path, branches(1)), labels).json()
    assert (answer["model"]["labels"], answer["model"]["blocks"]) == (list("abcdefg"), ["block0"])
    put(client, f"{api}/picture", picture(tmp_path))
    seen = client.get(f"{api}/classes").json()
    assert len(seen["classes"]) == 5
    answer = client.get(f"{api}/saliency", params={"method": "gradient", "target": "c"}).json()
    exec(compile(answer["python"], "uploaded", "exec"), {})
    with Image.open("gradient.png") as made:
        assert np.array_equal(decoded(answer["png"]), np.asarray(made))


def test_labels_of_weights_that_hold_their_definition(client, api: str, tmp_path: Path) -> None:
    _, weights = saved(tmp_path, branches(1))
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join("abcdefg"))
    assert open_model(client, api, weights, labels).json()["model"]["labels"] == list("abcdefg")
    python = client.get(f"{api}/filters", params={"layer": "conv1"}).json()["python"]
    assert "caffepy.Net('net.caffemodel', caffepy.TEST)" in python
    assert "saliency.read_labels('labels.txt')" in python


# ---- bad input


def test_a_file_that_is_no_picture(client, api: str, tmp_path: Path) -> None:
    client.post(f"{api}/sample", params={"index": 1})
    text = tmp_path / "notes.png"
    text.write_text("not a picture")
    answer = put(client, f"{api}/picture", text)
    assert answer.status_code == 400
    assert "picture" in answer.json()["error"]
    assert client.get(f"{api}/classes").json()["name"] == "sample 1"


def test_a_picture_that_is_too_large(client, api: str, monkeypatch) -> None:
    monkeypatch.setattr("caffepy.explore.app._PICTURE_BYTES", 1000)
    answer = client.put(f"{api}/picture", params={"name": "x.png"}, content=bytes(2000))
    assert (answer.status_code, "larger than" in answer.json()["error"]) == (400, True)


def test_weights_of_another_net(client, api: str, tmp_path: Path) -> None:
    model, _ = saved(tmp_path, branches(1))
    _, weights = saved(tmp_path, branches(1).replace("num_output: 4", "num_output: 5"), "other")
    answer = open_model(client, api, model, weights)
    assert answer.status_code == 400
    assert "conv1" in answer.json()["error"]
    assert client.get(f"{api}/graph").json()["nodes"][1]["layer"] == "conv1"
    assert client.get(f"{api}/layer", params={"name": "norm1"}).json()["name"] == "norm1"  # the model before stays


def test_an_uploaded_model_runs_no_code(client, api: str, tmp_path: Path) -> None:
    model = tmp_path / "python.prototxt"
    model.write_text(
        'input: "data" input_shape { dim: 1 dim: 3 dim: 4 dim: 4 } layer { name: "p" type: "Python" bottom: "data" '
        'top: "p" python_param { module: "antigravity" layer: "L" } }'
    )
    answer = open_model(client, api, model)
    assert answer.status_code == 400
    assert "antigravity" in answer.json()["error"]


def test_a_net_without_a_picture_can_be_looked_at(client, api: str, tmp_path: Path) -> None:
    model = tmp_path / "words.prototxt"
    model.write_text(
        'input: "words" input_shape { dim: 2 dim: 5 } layer { name: "fc" type: "InnerProduct" bottom: "words" '
        'top: "fc" inner_product_param { num_output: 3 } }'
    )
    answer = open_model(client, api, model).json()
    assert "pictures can be looked at in nets whose input" in answer["model"]["why_no_pictures"]
    assert client.get(f"{api}/layer", params={"name": "fc"}).json()["tops"] == [{"name": "fc", "shape": [2, 3]}]
    assert "error" in client.get(f"{api}/features", params={"blob": "fc"}).json()


@pytest.mark.parametrize(
    ("path", "query", "said"),
    [
        ("saliency", {"method": "gradeint"}, "did you mean 'gradient'"),
        ("saliency", {"target": "99"}, "out of range"),
        ("saliency", {"target": "Shrit"}, "did you mean 'shirt'"),
        ("saliency", {"blob": "conv2", "channel": "999"}, "outside blob"),
        ("saliency", {"blob": "conv2", "channel": "-1"}, "expected a number"),
        ("features", {"blob": "conv9"}, "conv9"),
        ("features", {}, "the request lacks"),
        ("filters", {"layer": "pool2"}, "can be seen as pictures"),
        ("layer", {"name": "nowhere"}, "no layer"),
    ],
)
def test_requests_that_cannot_be(client, api: str, path: str, query: dict[str, str], said: str) -> None:
    client.post(f"{api}/sample", params={"index": 0})
    answer = client.get(f"{api}/{path}", params=query)
    assert answer.status_code == 400
    assert said in answer.json()["error"]


# ---- the worker


def test_what_nobody_waits_for_is_not_begun() -> None:
    import asyncio

    from caffepy.explore.worker import Dropped, Worker

    class Leaving:
        """A client that goes as soon as it is told to."""

        def __init__(self) -> None:
            self.left = asyncio.Event()

        async def receive(self) -> dict[str, str]:
            await self.left.wait()
            return {"type": "http.disconnect"}

    ran: list[str] = []
    gate = threading.Event()

    async def scene() -> None:
        worker, first, second = Worker(), Leaving(), Leaving()
        running = asyncio.ensure_future(worker.run(first, lambda: (gate.wait(5), ran.append("first"))))  # type: ignore[arg-type]
        waiting = asyncio.ensure_future(worker.run(second, lambda: ran.append("second")))  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        second.left.set()
        with pytest.raises(Dropped):
            await waiting
        gate.set()
        await running
        await worker.run(first, lambda: ran.append("third"))  # type: ignore[arg-type]
        worker.close()

    asyncio.run(scene())
    assert ran == ["first", "third"]


def test_a_synthesis_ends_when_the_page_leaves() -> None:
    import asyncio

    from caffepy.explore.worker import Worker

    ended: list[int] = []

    def work(progress) -> None:
        steps = 0
        try:
            while steps < 100000:
                progress()
                steps += 1
                time.sleep(0.001)
        finally:
            ended.append(steps)

    async def scene() -> None:
        worker = Worker()
        steps = worker.follow(work)
        async for step in steps:
            if step == 3:
                break
        await steps.aclose()
        worker.close()

    asyncio.run(scene())
    assert len(ended) == 1
    assert ended[0] < 100000


def test_a_session_makes_room_for_others(client, api: str) -> None:
    for _ in range(32):
        client.post("/api/sessions")
    assert "no longer known" in client.get(f"{api}/graph").json()["error"]
