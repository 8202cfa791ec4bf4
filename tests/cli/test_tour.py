"""``convkit tour`` and its page."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

import convkit as ck
from convkit.catalogue import LANGUAGES, using
from convkit.cli import page, plain, raster
from convkit.cli import tour as tour_module
from convkit.scenes import SCENES, Check, Outcome, Picture, Report, find, run

QUICK = ",".join(name for name, scene in SCENES.items() if scene.lengthy == "no")


@pytest.fixture(scope="module")
def html():
    lengthy = [scene for scene in SCENES.values() if scene.lengthy == "yes"]
    return page.tour([run(scene) for scene in SCENES.values() if scene.lengthy == "no"], lengthy)


def test_all_scenes_are_green(convkit, tmp_path):
    out = tmp_path / "tour.html"
    result = convkit("tour", "--only", QUICK, "--out", out)
    assert result.exit_code == 0, result.output
    lines = [line for line in result.output.splitlines() if line.startswith("✓")]
    assert len(lines) == len(QUICK.split(","))
    flip = next(line for line in lines if "(flip)" in line)
    assert "expected 10 16 22 28 | got 10 16 22 28" in flip
    assert re.search(r"\d\.\d\d s$", flip)
    assert f"{len(lines)} scenes right, 0 wrong, 0 not run" in result.output
    assert out.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_wrong_number_makes_the_tour_fail(convkit, tmp_path, monkeypatch):
    real = ck.convolve
    monkeypatch.setattr(ck, "convolve", lambda x, k, *rest, **options: real(x, k, *rest, **options) + 1)
    result = convkit("tour", "--only", "flip,template", "--out", tmp_path / "t.html")
    assert result.exit_code == 1
    assert "✗ Is the kernel flipped? (flip)" in result.output
    assert "expected 10 16 22 28, got 11 17 23 29" in result.output
    assert "1 scenes right, 1 wrong" in result.output
    assert 'class="off">✗' in (tmp_path / "t.html").read_text(encoding="utf-8")


def test_a_scene_that_stops_is_wrong_and_the_tour_goes_on(convkit, tmp_path, monkeypatch):
    def stops(*arguments, **options):
        raise RuntimeError("broken in the middle")

    monkeypatch.setattr(ck, "convolve", stops)
    result = convkit("tour", "--only", "flip,template", "--out", tmp_path / "t.html")
    assert result.exit_code == 1
    assert "stopped with an error: expected -, got RuntimeError: broken in the middle" in result.output
    assert "✓ Finding a piece of a picture" in result.output


def test_json(convkit, tmp_path):
    result = convkit("tour", "--only", "flip", "--only", "echo", "--json", "--out", tmp_path / "t.html")
    facts = json.loads(result.stdout)
    assert facts["ok"] is True
    assert [scene["scene"] for scene in facts["scenes"]] == ["flip", "echo"]
    assert facts["scenes"][0]["checks"][0] == {
        "check": "convolution",
        "expected": "10 16 22 28",
        "got": "10 16 22 28",
        "ok": True,
    }


def test_a_missing_extra_is_not_counted_as_green(convkit, tmp_path, monkeypatch):
    monkeypatch.setattr(tour_module, "find_spec", lambda name: None)
    result = convkit("tour", "--only", "flip,digits", "--out", tmp_path / "t.html")
    assert result.exit_code == 0
    assert "not run: needs pip install 'convkit[nn]'" in result.output
    assert "1 scenes right, 0 wrong, 1 not run" in result.output
    alone = convkit("tour", "--only", "digits", "--out", tmp_path / "t.html", "--json")
    assert alone.exit_code == 1
    assert json.loads(alone.stdout)["not_run"] == [{"scene": "digits", "needs": "convkit[nn]"}]
    explained = convkit("explain", "digits")
    assert explained.exit_code == 1
    assert "pip install 'convkit[nn]'" in explained.stderr


def test_unknown_scene_and_unwritable_page(convkit, tmp_path):
    result = convkit("tour", "--only", "flop", "--out", tmp_path / "t.html")
    assert (result.exit_code, 'scene="flip"' in result.stderr) == (1, True)
    result = convkit("tour", "--only", "flip", "--out", tmp_path)
    assert (result.exit_code, "file.is-a-folder" in result.stderr) == (1, True)
    assert list(tmp_path.iterdir()) == []


def test_the_page_needs_no_network(html):
    assert "http" not in html.replace("http-equiv", "")
    for word in ("<link", "@import", "url(", "fetch(", "XMLHttpRequest", "import("):
        assert word not in html
    sources = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert sources
    assert all(source.startswith("data:image/") for source in sources)


class _Spans(HTMLParser):
    """Counts the pieces in each language, and checks that every tag is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.count = [], dict.fromkeys(LANGUAGES, 0)

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "img", "line", "circle", "rect", "polyline"):
            self.open.append(tag)
        if tag == "span" and dict(attributes).get("lang"):
            self.count[dict(attributes)["lang"]] += 1

    def handle_startendtag(self, tag, attributes):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_both_languages_are_inside_everywhere(html):
    spans = _Spans()
    spans.feed(html)
    assert spans.open == []
    assert spans.count["en"] == spans.count["zh"] > 200
    for scene in SCENES.values():
        for language in LANGUAGES:
            with using(language):
                assert str(scene.title).replace("'", "&#x27;") in html
    assert '<button value="zh">中文</button>' in html


def test_the_page_opens_in_the_language_asked_for():
    with using("zh"):
        assert '<html lang="zh" data-speak="zh">' in page.tour([run(find("flip"))], [])


def test_pictures_without_pillow_are_bitmaps(monkeypatch):
    import sys
    from io import BytesIO

    from PIL import Image

    pixels = np.arange(7 * 5 * 3, dtype=np.uint8).reshape(7, 5, 3)
    np.testing.assert_array_equal(np.array(Image.open(BytesIO(raster.bitmap(pixels)))), pixels)
    grey = pixels[..., 0]
    np.testing.assert_array_equal(np.array(Image.open(BytesIO(raster.bitmap(grey))))[..., 1], grey)
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert raster.data_uri(grey).startswith("data:image/bmp;base64,")
    page.tour([run(find("sobel"))], [])


def test_signed_pictures_have_white_at_zero():
    shown = raster.coloured(np.array([[-2.0, 0.0, 1.0]]), "signed")
    assert shown[0, 1].tolist() == [255, 255, 255]
    assert shown[0, 0, 2] > shown[0, 0, 0]
    assert shown[0, 2, 0] > shown[0, 2, 2]
    assert raster.coloured(np.array([[0, 8, 16]], np.uint8), "brightness").tolist() == [[0, 128, 255]]


def test_words_from_scenes_are_escaped():
    hostile = Report(find("flip"), Outcome([Check("convolution", "<b>", "<script>")], [Picture("<i>", np.eye(3))]), 0.1)
    text = page.tour([hostile], [])
    assert "<script>" not in text.split("</style>")[1].split("<script>\n")[0]
    assert "&lt;script&gt;" in text
    assert "<i>" not in text


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("markdown", [False, True])
def test_scenes_as_text(language, markdown):
    with using(language):
        text = plain.scene(run(find("hand-tables")), markdown)
    assert "x k[1] |  .  1  2  3  4  ." in text
    assert ("手算" in text) == (language == "zh")
    assert ("| ✓ |" in text) == markdown


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_docs_list_every_scene(language):
    text = (Path(__file__).parents[2] / "docs" / language / "tour.md").read_text(encoding="utf-8")
    assert [name for name in SCENES if f"`{name}`" not in text] == []
