"""Prototxt reading and writing: what loads, and what the errors say."""

import contextlib
import re
from pathlib import Path

import pytest

from caffepy.errors import MissingFileError, ProtoError, UnknownFieldError
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import NetParameter, PoolingParameter, SolverParameter

POOL = """name: "net"
layer {
  name: "pool1"
  type: "Pooling"
  pooling_param { pool: AVE kernel_size: 3 }
}
"""


def test_parses_into_the_message_asked_for() -> None:
    net = prototxt.parse(POOL, NetParameter)
    assert (net.name, net.layer[0].pooling_param.pool, net.layer[0].pooling_param.kernel_size) == (
        "net",
        PoolingParameter.AVE,
        3,
    )
    assert prototxt.parse('net: "a.prototxt" base_lr: 1e-3', SolverParameter).net == "a.prototxt"


PASTED = [
    ("non-breaking spaces", POOL.replace(" ", "\u00a0")),
    ("wide spaces", POOL.replace(" ", "\u3000")),
    ("zero-width spaces and marks", POOL.replace(" ", "\u200b \u200e")),
    ("byte order mark", "\ufeff" + POOL),
    ("Windows line ends", POOL.replace("\n", "\r\n")),
    ("old Mac line ends, with a comment", "# pools\r" + POOL.replace("\n", "\r")),
    ("line separators", "# pools\u2028" + POOL.replace("\n", "\u2028")),
    ("curly quotes", POOL.replace('"', "\u201c", 1).replace('"', "\u201d", 1).replace(' "', " \u201e")),
    ("curly quotes at one end", POOL.replace('"\n', "\u201d\n")),
    ("single curly quotes", re.sub('"(.*?)"', "\u2018\\1\u2019", POOL)),
    (
        "commas, semicolons and colons",
        POOL.replace("AVE ", "AVE, ").replace("3 }", "3; },").replace("layer {", "layer: {"),
    ),
    ("angle brackets", POOL.replace("{", "<").replace("}", ">")),
]


@pytest.mark.parametrize("text", [text for _, text in PASTED], ids=[name for name, _ in PASTED])
def test_pasted_text_loads(text: str) -> None:
    assert text != POOL
    assert prototxt.parse(text, NetParameter) == prototxt.parse(POOL, NetParameter)


@pytest.mark.parametrize("name", ["\u201cx\u201d", "it\u2019s", "a # b", "\u200b", "\u5927\u5c0f", "a\u00a0b", "{ [ <"])
def test_strings_stay_as_they_are(name: str) -> None:
    assert prototxt.parse(f'layer {{ name: "{name}" }} # "', NetParameter).layer[0].name == name


def test_quotes_inside_curly_quotes_stay() -> None:
    for inside in ("say \u2018yes\u2019", "say 'yes'", 'say "yes"'):
        text = (
            f"layer {{ type: \u201c{inside}\u201d }}"
            if '"' not in inside
            else f"layer {{ type: \u2018{inside}\u2019 }}"
        )
        assert prototxt.parse(text, NetParameter).layer[0].type == inside


WRONG = [
    ("kernal_size: 3", UnknownFieldError, (1, 1), ["PoolingParameter has no field 'kernal_size'", "'kernel_size'?"]),
    ("\n\t pol: MAX", UnknownFieldError, (2, 3), ["did you mean 'pool'?", "\n    \t pol: MAX\n    \t ^"]),
    ("\ufeffpool: MAXX", ProtoError, (1, 7), ["has no value MAXX"]),
    ("yolo_mode: 3", UnknownFieldError, (1, 1), ["nor one of a similar name", "fork of Caffe"]),
    ("pool: MAXX", ProtoError, (1, 7), ["PoolMethod has no value MAXX; it has MAX, AVE, STOCHASTIC"]),
    ("pool: 7", ProtoError, (1, 7), ["has no value 7"]),
    ("stride: 1\npad: 1 stride: 2", ProtoError, (2, 16), ["'stride' is given a second time in PoolingParameter"]),
    ("stride: 1.5", ProtoError, (1, 9), ["couldn't parse integer: 1.5"]),
    ("stride: -1", ProtoError, (1, 9), ["out of range"]),
    ("stride: 1 }", ProtoError, (1, 11), ["'}' closes nothing"]),
    ("stride", ProtoError, (1, 7), ['expected ":"']),
    ("stride: 1 ]", ProtoError, (1, 11), ["got ]"]),
]


@pytest.mark.parametrize(("text", "kind", "place", "says"), WRONG, ids=[row[0] for row in WRONG])
def test_errors_give_the_place_and_the_remedy(
    text: str, kind: type[ProtoError], place: tuple[int, int], says: list[str]
) -> None:
    with pytest.raises(ProtoError) as caught:
        prototxt.parse(text, PoolingParameter, "pool.prototxt")
    assert type(caught.value) is kind
    message = str(caught.value)
    assert message.startswith(f"pool.prototxt:{place[0]}:{place[1]}: ")
    assert message.splitlines()[1].strip() == text.removeprefix("\ufeff").splitlines()[place[0] - 1].strip()
    for part in says:
        assert part in message


NET_WRONG = [
    (POOL + "}\n", ProtoError, "<string>:7:1", "'}' closes nothing"),
    (POOL[:-2], ProtoError, "<string>:2:7", "the block `layer {` is never closed; add '}'"),
    (POOL[:-2] + POOL, ProtoError, "<string>:6:7", "'name' is given a second time in LayerParameter"),
    (POOL[:-2] + POOL, ProtoError, "<string>:6:7", "or does `layer {` of line 2 lack its '}'?"),
    (POOL[:-2] + POOL[12:], ProtoError, "<string>:2:7", "the block `layer {` is not closed before line 6"),
    (POOL[:-2] + "# }\n" + POOL[12:], ProtoError, "<string>:2:7", "is not closed before line 7"),
    (POOL.replace("type", "stride: 2 # {\n  type"), UnknownFieldError, "<string>:4:3", "pooling_param"),
    ('layer { name: "a }\n', ProtoError, "<string>:1:15", "missing ending quote"),
    ("layer { name: conv1 }", ProtoError, "<string>:1:15", "expected a string in quotes, found conv1"),
    ("layers { type: CONVOLUTON }", ProtoError, "<string>:1:16", "did you mean CONVOLUTION or"),
    ('layers { type: "DATA" }', ProtoError, "<string>:1:16", 'no value "DATA"; did you mean DATA'),
    (
        "layer { pooling_param { name: 1 } }",
        UnknownFieldError,
        "<string>:1:25",
        "LayerParameter has; is it in the wrong",
    ),
    ("layer { num_axes: 1 }", UnknownFieldError, "<string>:1:9", "reshape_param, bias_param, scale_param have"),
    ("layer { clip_param { min: 0 } }", ProtoError, "<string>", "required and not given: layer[0].clip_param.max"),
    ("layer { loss_param { } loss_param { } }", ProtoError, "<string>:1:35", "'loss_param' is given a second time"),
    ("layer { input_param { shape: [{ dim: 1 }, { dimm: 2 }] } }", UnknownFieldError, "<string>:1:45", "'dim'?"),
]


@pytest.mark.parametrize(("text", "kind", "place", "says"), NET_WRONG, ids=range(len(NET_WRONG)))
def test_errors_in_nets(text: str, kind: type[ProtoError], place: str, says: str) -> None:
    with pytest.raises(ProtoError) as caught:
        prototxt.parse(text, NetParameter)
    assert type(caught.value) is kind
    assert str(caught.value).startswith(place + ": ")
    assert says in str(caught.value)


def test_an_unclosed_block_deep_inside_names_every_open_one() -> None:
    text = 'layer {\n  convolution_param {\n    weight_filler { type: "msra"\n'
    with pytest.raises(ProtoError, match=r"^<string>:3:19: the block `weight_filler {` is never closed") as caught:
        prototxt.parse(text, NetParameter)
    assert "nor is `convolution_param {` of line 2, `layer {` of line 1 around it" in str(caught.value)


def test_a_long_line_is_shown_around_the_place() -> None:
    text = 'layer { name: "a" } ' * 50 + "oops: 1"
    with pytest.raises(UnknownFieldError) as caught:
        prototxt.parse(text, NetParameter)
    _, line, mark = str(caught.value).splitlines()
    assert line[mark.index("^") :] == "oops: 1"
    assert len(line) < 120


@pytest.mark.parametrize(
    "data",
    [
        POOL.encode(),
        b"\xef\xbb\xbf" + POOL.encode(),
        ("# pool\u00e9, \u00df\n" + POOL).encode("latin-1"),
        ("# \u201cpools\u201d \u2026 \n" + POOL).encode("cp1252"),
        ("# \u6c60\u5316\n" + POOL).encode("gbk"),
        POOL.encode("utf-16"),
    ],
    ids=["utf-8", "utf-8 with mark", "latin-1", "cp1252", "gbk comment", "utf-16"],
)
def test_files_of_any_encoding_load(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "net.prototxt").write_bytes(data)
    assert prototxt.read(tmp_path / "net.prototxt", NetParameter) == prototxt.parse(POOL, NetParameter)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (
            b"\n\x03toy\xa2\x06\x1a\n\x01x\x12\x05Input",
            "expected a prototxt and found a binary file; if it holds weights",
        ),
        (b"\x89HDF\r\n\x1a\n\x00\x00", "expected a prototxt and found a binary file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "git-lfs pointer.*run `git lfs pull`"),
        (b"", "the file is empty"),
        (b"PK\x03\x04....", "zip archive; unpack"),
        (b"\n<!DOCTYPE html>\n<html>", "found a web page; download the raw file"),
    ],
)
def test_files_that_are_no_prototxt_are_recognised(tmp_path: Path, data: bytes, says: str) -> None:
    (tmp_path / "net.prototxt").write_bytes(data)
    with pytest.raises(ProtoError, match=rf"net\.prototxt: .*{says}"):
        prototxt.read(tmp_path / "net.prototxt", NetParameter)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"nothing\.prototxt: cannot be opened"):
        prototxt.read(tmp_path / "nothing.prototxt", NetParameter)


def test_errors_of_a_file_begin_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text("layer { nme: 1 }")
    with pytest.raises(UnknownFieldError, match=f"^{re.escape(str(tmp_path))}/net.prototxt:1:9: "):
        prototxt.read(str(tmp_path / "net.prototxt"), NetParameter)


def test_written_text_reads_back(tmp_path: Path) -> None:
    net = prototxt.parse(POOL, NetParameter)
    net.layer.add(name='say "\u5927"\n').lrn_param.alpha = 1e-4
    prototxt.write(tmp_path / "net.prototxt", net)
    assert prototxt.read(tmp_path / "net.prototxt", NetParameter) == net
    assert "alpha: 0.0001\n" in (tmp_path / "net.prototxt").read_text(encoding="utf-8")
    with pytest.raises(MissingFileError, match="there is no folder"):
        prototxt.write(tmp_path / "gone" / "net.prototxt", net)


@pytest.mark.parametrize(
    "text",
    [
        'name: "' + "\\" * 200_000 + '"',
        'name: "' + "\\" * 200_001 + '"',
        "name: '" + "\\" * 200_000 + "'",
        "# " + "\\" * 200_001 + "\nname: 'a'",
        'name: "a" ' * 20_000,
        "layer { unheard_of: 1 }\n" * 10_000,
        "layer { " + "unheard_of { of: 1 } " * 10_000 + "}",
        "layer { include { " * 10_000,
        '"' * 100_000,
        "foo: 1" + " " * 100_000,
    ],
)
def test_long_texts_end_in_linear_time(text: str) -> None:
    with contextlib.suppress(ProtoError):
        prototxt.parse_net(text)


def test_long_runs_of_backslashes_are_what_they_say() -> None:
    for pairs in (1, 63, 64, 1000):
        net = prototxt.parse('name: "a' + "\\" * 2 * pairs + 'b" # ' + "\\" * 301, NetParameter)
        assert net.name == "a" + "\\" * pairs + "b"


def test_errors_show_no_control_characters() -> None:
    with pytest.raises(ProtoError) as caught:
        prototxt.parse('unheard_of: "\x1b[2J\x07"', NetParameter)
    assert "\x1b" not in str(caught.value)
    assert 'unheard_of: "\ufffd[2J\ufffd"' in str(caught.value)
