"""The page in a real browser, headless Chromium: the main ways through it, errors, hostile names, two sessions."""

import re
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from caffepy.explore import answers
from caffepy.explore import model as models
from tests.explore.nets import branches, picture, saved

sync_playwright = pytest.importorskip("playwright.sync_api", reason="drives the browser").sync_playwright
server = pytest.importorskip("caffepy.explore.app", reason="caffepy explore takes caffepy[web]").server

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium")
WAIT = 60_000  # ms


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        serving = server(models.embedded())
        thread = threading.Thread(target=lambda: serving.run(sockets=[listening]))
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
        serving.should_exit = True
        thread.join(20)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_playwright() as playwright:
        camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", *camera])
        yield opened
        opened.close()


@pytest.fixture
def pages(browser, address: str) -> Iterator[Any]:
    """Opens the page, each time for somebody else; afterwards nothing has gone wrong in any, or to another host."""
    contexts, wrong = [], []

    def noted(request: Any) -> None:
        if not request.url.startswith((address, "data:", "blob:")):
            wrong.append(request.url)

    def opened(**options: Any) -> Any:
        context = browser.new_context(viewport={"width": 1500, "height": 950}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
        page.on("request", noted)
        page.goto(address)
        page.locator("#figures figure .over").nth(2).wait_for()
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture
def page(pages) -> Any:
    return pages()


def classes(page: Any) -> Any:
    return page.get_by_role("list", name="Best classes").get_by_role("button")


def choose_picture(page: Any, path: Path) -> None:
    page.locator("#picture-file").set_input_files(str(path))


def node(page: Any, layer: str) -> Any:
    return page.locator(f'#graph .node[data-key="layer {layer}"]')


def saved_picture(page: Any, button: Any) -> np.ndarray:
    with page.expect_download() as download:
        button.click()
    with Image.open(download.value.path()) as image:
        return np.asarray(image.convert("RGB"))


def test_the_way_through(page, tmp_path: Path) -> None:
    choose_picture(page, picture(tmp_path, "mine.png"))
    page.get_by_text("mine.png:").wait_for()
    second = classes(page).nth(1)
    label = second.locator(".label").inner_text()
    second.click()
    page.locator("#figures figcaption", has_text=f"{label}, score").nth(2).wait_for()
    assert second.get_attribute("aria-pressed") == "true"

    page.locator("#methods summary").click()
    page.get_by_label("lrp", exact=True).check()
    page.get_by_label("grad-cam", exact=True).uncheck()
    page.locator("#figures figure b", has_text="lrp").wait_for()
    page.locator("#figures figure .over").nth(2).wait_for()
    names = page.locator("#figures figure b").all_inner_texts()
    assert names == ["gradient", "guided-backprop", "lrp"]

    node(page, "conv2").click()
    page.get_by_role("heading", name="conv2").wait_for()
    cells = page.locator(".cells button")
    cells.nth(47).wait_for()
    page.locator("summary", has_text="Gradient").click()
    page.locator("details", has_text="Gradient").locator(".cells button").nth(5).wait_for()

    cells.first.click()
    page.locator("#unit figure .over").nth(1).wait_for()
    page.get_by_role("button", name="Make a picture of it").click()
    page.locator("#unit figcaption", has_text="conv2[").last.wait_for()
    page.locator('#unit img[alt*="conv2["]').wait_for()

    first = page.locator("#figures figure").first
    strong = saved_picture(page, first.get_by_role("button", name="Save PNG"))
    page.get_by_label("Strength of the map").fill("0")
    bare = saved_picture(page, first.get_by_role("button", name="Save PNG"))
    assert strong.shape == bare.shape == (448, 448, 3)
    assert (bare[:, :, 0] == bare[:, :, 1]).all()  # the picture alone, which the net sees in gray
    assert not (strong == bare).all()
    sheet = saved_picture(page, page.locator("details", has_text="Gradient").get_by_role("button", name="Save PNG"))
    assert sheet.shape[2] == 3
    first.get_by_role("button", name="Python").click()
    assert 'saliency.named("gradient")' in page.locator("dialog pre").inner_text()
    page.keyboard.press("Escape")
    assert page.locator("dialog").count() == 0


def test_a_synthesis_can_be_stopped(page, monkeypatch) -> None:
    step, synthesis = threading.Event(), answers.synthesis

    def slowly(session: Any, query: Any, progress: Any) -> Any:
        return synthesis(session, query, lambda: (step.wait(0.2), progress()))

    monkeypatch.setattr(answers, "synthesis", slowly)
    node(page, "conv3").click()
    page.locator(".cells button").first.click()
    page.get_by_role("button", name="Make a picture of it").click()
    page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Make a picture of it").wait_for()
    assert page.get_by_role("progressbar").count() == 0


def test_errors_are_told_and_the_page_goes_on(page, tmp_path: Path) -> None:
    text = tmp_path / "notes.png"
    text.write_text("no picture at all")
    choose_picture(page, text)
    page.get_by_role("alert").filter(has_text="picture").wait_for()
    page.get_by_role("button", name="Sample 5", exact=True).click()
    page.locator("#status", has_text="sample 4").wait_for()
    assert page.locator("#problem").is_hidden()

    model, _ = saved(tmp_path, branches(1))
    _, weights = saved(tmp_path, branches(1).replace("num_output: 4", "num_output: 5"), "other")
    page.locator("#model-files").set_input_files([str(model), str(weights)])
    page.get_by_role("alert").filter(has_text="conv1").wait_for()
    assert page.locator("#model-name").inner_text().startswith("Fashion-MNIST")
    page.get_by_label("Another class, by name or number").fill("99")
    page.keyboard.press("Enter")
    page.locator("#figures [role=alert]", has_text="out of range").first.wait_for()


def test_two_people_at_once(pages, tmp_path: Path) -> None:
    one, other = pages(), pages()
    choose_picture(one, picture(tmp_path, "one.png", 1))
    one.get_by_text("one.png:").wait_for()
    one.locator("#figures figure .over").nth(2).wait_for()
    assert other.get_by_text("one.png").count() == 0
    choose_picture(other, picture(tmp_path, "other.png", 2))
    other.get_by_text("other.png:").wait_for()
    pictures = {page.locator("#seen img").get_attribute("src") for page in (one, other)}
    assert len(pictures) == 2
    classes(one).nth(1).click()
    one.locator("#figures figure .over").nth(2).wait_for()
    assert one.locator("#seen img").get_attribute("src") in pictures
    assert other.get_by_text("one.png").count() == 0


def test_hostile_names_are_text(page, tmp_path: Path) -> None:
    evil = ["<script>alert(1)</script>", "<img src=x onerror=alert(2)>", "</pre><svg onload=alert(3)>"]
    text = branches(1)
    for old, new in zip(("conv1", "block0/left", "fc"), evil, strict=True):
        text = text.replace(f'"{old}"', f'"{new}"')
    model, weights = saved(tmp_path, text)
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join([*evil, *"defg"]))
    page.locator("#model-files").set_input_files([str(model), str(weights), str(labels)])
    choose_picture_once = page.locator("#graph .node", has_text="<script>")
    choose_picture_once.wait_for()
    choose_picture(page, picture(tmp_path, "picture.png"))
    classes(page).nth(4).wait_for()
    choose_picture_once.click()
    page.get_by_role("heading", name=evil[0]).wait_for()
    page.locator(".cells button").first.click()
    page.locator("#unit figure .over").nth(1).wait_for()
    assert page.locator("main script, img[src=x], main [onload], main [onerror]").count() == 0


def test_the_camera(page) -> None:
    page.get_by_role("button", name="Camera").click()
    page.get_by_role("button", name="Take the picture").click()
    page.locator("#status", has_text="camera.png:").wait_for()
    page.locator("#figures figure .over").nth(2).wait_for()


def test_a_block_unfolds_and_folds(page, tmp_path: Path) -> None:
    page.locator("#model-files").set_input_files([str(file) for file in saved(tmp_path, branches(2))])
    page.locator('#graph .node[data-key="block block1"]').click()
    node(page, "block1/left").click()
    page.get_by_role("button", name="Fold block1").click()
    page.locator('#graph .node[data-key="block block1"]').wait_for()
    assert node(page, "block1/left").count() == 0


def test_by_keyboard_alone(page) -> None:
    page.locator('#graph .node[data-key="layer data"]').focus()
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    focused = page.evaluate_handle("document.activeElement").get_property("dataset").get_property("key").json_value()
    assert focused == "layer conv2"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="norm1").wait_for()
    page.keyboard.press("Tab")


def test_everything_that_acts_has_a_name(page) -> None:
    node(page, "conv1").click()
    page.locator(".cells button").first.wait_for()
    for control in page.locator("button, input:not([type=file]), summary").all():
        name = (
            control.get_attribute("aria-label") or control.text_content() or control.locator("xpath=..").text_content()
        )
        assert name.strip(), control.evaluate_handle("e => e.outerHTML")
    for image in page.locator("img").all():
        assert image.get_attribute("alt") is not None


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out(pages, scheme: str) -> None:
    """By WCAG 2's formula, at least 4.5 to 1."""
    page = pages(color_scheme=scheme)
    for selector in ("h1", "#model-facts", "#figures figcaption", "#layer-body .dim", "button[aria-pressed=true]"):
        element = page.locator(selector).first
        ink = _luminance(_style(element, "color"))
        ground = _luminance(_ground(element))
        contrast = (max(ink, ground) + 0.05) / (min(ink, ground) + 0.05)
        assert contrast >= 4.5, (selector, contrast)


def test_the_page_is_small() -> None:
    folder = Path(models.__file__).parent / "page"
    assert sum(file.stat().st_size for file in folder.iterdir()) < 300_000


def _style(element: Any, name: str) -> str:
    found: str = element.evaluate(f"e => getComputedStyle(e)['{name}']")
    return found


def _ground(element: Any) -> str:
    while (found := _style(element, "backgroundColor")) == "rgba(0, 0, 0, 0)":
        element = element.locator("xpath=..")
    return found


def _luminance(color: str) -> float:
    values = np.array([int(part) for part in re.findall(r"\d+", color)[:3]]) / 255
    linear = np.where(values <= 0.03928, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))
