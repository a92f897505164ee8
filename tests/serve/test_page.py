"""The page in Chromium: files, slider, counts, downloads; at two sizes, in both themes, by keys."""

import base64
import csv
import io
import json
import re
import shutil
import zipfile

import pytest
from PIL import Image
from serve_tools import Doubling, Echo, encoded, expected, make_service, serving

from frcnn.serve.counting import Calibration
from frcnn.serve.guard import Access

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
TOKEN = "correct-horse-battery"
WIDE, NARROW = (1280, 900), (390, 844)


@pytest.fixture(scope="module")
def chromium():
    with sync_api.sync_playwright() as playwright:
        # Without a sandbox, since tests may run as root.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address():
    service = make_service(calibration=Calibration(0.0, {1: Doubling()}),
                           limits={"rate": 100_000, "max_bytes": 200_000})
    with serving(service) as address:
        yield address


@pytest.fixture
def open_page(chromium):
    """Opens an address; what goes wrong in the page fails the test."""
    contexts, faults = [], []

    def opened(address, size=WIDE, theme="light"):
        context = chromium.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=theme)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        # An answer with a status of 4xx or 5xx is an error of the console, too.
        page.on("console", lambda message: faults.append(message.text)
                if message.type == "error" and "Failed to load resource" not in message.text
                else None)
        own = address.removesuffix("/docs")
        page.on("request", lambda request: faults.append(request.url)
                if not request.url.startswith((own, "blob:")) else None)
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not faults


def file(name, content=None, value=9):
    return {"name": name, "mimeType": "", "buffer": encoded(value) if content is None else content}


def upload(page, *files):
    sync_api.expect(page.locator("#drop")).to_be_visible()
    page.set_input_files("#files", list(files))
    sync_api.expect(page.locator("#progress")).not_to_contain_text("done")


def counts(page):
    """`{class: cells}` of the table that is shown."""
    rows = page.locator("#counts tbody tr, #counts tfoot tr")
    return {row.locator("th").inner_text().strip(): row.locator("td:visible").all_inner_texts()
            for row in rows.all()}


def saved(page, button):
    with page.expect_download() as download:
        page.click(button)
    return download.value.suggested_filename, download.value.path().read_bytes()


# --- a technician's way ---------------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_an_image_is_dropped_counted_and_saved(open_page, address, size, theme):
    page = open_page(address, size, theme)
    sync_api.expect(page.locator("#model")).to_have_text("echo.h5")
    content = base64.b64encode(encoded(8)).decode()
    page.locator("body").evaluate("""(body, content) => {
      const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
      const transfer = new DataTransfer();
      transfer.items.add(new File([bytes], "slide 1.png", { type: "image/png" }));
      body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true }));
    }""", content)
    sync_api.expect(page.locator("#progress")).to_have_text("1 image")
    sync_api.expect(page.locator("#image-name")).to_have_text("slide 1.png")
    boxes = page.locator("#boxes g title")
    assert boxes.all_text_contents() == ["red 0.60", "red 0.90"]  # the best on top
    drawn = page.locator("#boxes .line").last
    y1, x1, y2, x2 = expected(8)[0][0]
    assert [float(drawn.get_attribute(name)) for name in ("x", "y", "width", "height")] == [
        x1, y1, x2 - x1, y2 - y1]
    found = counts(page)
    assert found == {"red": ["2", "3", "2 – 4"],
                     "white": ["0", "–", "–"], "Together": ["2", "–", "–"]}
    page.locator("#score").fill("0.1")
    assert counts(page)["white"] == ["1", "–", "–"] and len(boxes.all()) == 3
    page.locator("#score").fill("0.7")
    assert counts(page)["red"][0] == "1" and len(boxes.all()) == 1
    name, content = saved(page, "#save-one")
    assert name == "slide 1.geojson"
    (feature,) = json.loads(content)["features"]
    assert feature["properties"]["classification"]["name"] == "red"
    assert feature["geometry"]["coordinates"][0][0] == [x1, y1]
    # No sideways scrolling, and everything can be read in this theme.
    assert page.evaluate("document.documentElement.scrollWidth") == size[0]
    assert low_contrast(page) == []


LUMINANCE = """() => {
  const level = (part) => (part /= 255) <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  const parts = (color) => color.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => 0.2126 * level(r) + 0.7152 * level(g) + 0.0722 * level(b);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = parts(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const low = [];
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!text || !element.checkVisibility() || element.closest("svg, :disabled, option")) continue;
    const [one, other] = [parts(getComputedStyle(element).color), behind(element)].map(luminance)
      .sort((x, y) => y - x);
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio < 4.5) low.push(`${element.tagName} ${element.textContent.trim()} ${ratio}`);
  }
  return low;
}"""


def low_contrast(page):
    """Texts whose contrast is below WCAG 2.2's 4.5 to 1."""
    return page.evaluate(LUMINANCE)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_the_description_can_be_read(open_page, address, size, theme):
    page = open_page(f"{address}/docs", size, theme)
    assert page.evaluate("document.documentElement.scrollWidth") == size[0]
    assert low_contrast(page) == []


def test_it_goes_by_keyboard_alone(open_page, address):
    page = open_page(address)
    page.on("filechooser", lambda chooser: None)  # from now on, no window is opened for it
    sync_api.expect(page.locator("#drop")).to_be_visible()

    def tab_to(selector, most=40):
        for _ in range(most):
            page.keyboard.press("Tab")
            if page.evaluate("selector => document.activeElement.matches(selector)", selector):
                assert page.evaluate("document.activeElement.matches(':focus-visible')")
                return
        raise AssertionError(f"{selector} is not reached")

    tab_to("#choose-files")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files([file("a.png", value=8), file("b.png", value=9)])
    sync_api.expect(page.locator("#progress")).to_have_text("2 images")
    tab_to("#next")
    page.keyboard.press("Enter")
    sync_api.expect(page.locator("#image-name")).to_have_text("b.png")
    tab_to("#zoom-in")
    page.keyboard.press("Space")
    tab_to("#scroller")
    tab_to("#score")
    page.keyboard.press("Home")
    sync_api.expect(page.locator("#score-value")).to_have_text("0.05")
    assert counts(page)["Together"][0] == "3"
    page.keyboard.press("ArrowRight")
    sync_api.expect(page.locator("#score-value")).to_have_text("0.06")
    tab_to("input[name=scope]")
    page.keyboard.press("ArrowRight")
    assert counts(page)["Together"][0] == "6"
    tab_to("#counts input")
    page.keyboard.press("Space")
    # Red is hidden; of b.png, white are the first and the last one.
    assert page.locator("#boxes title").all_text_contents() == ["white 0.20", "white 0.90"]
    tab_to("#format")
    page.keyboard.press("c")  # COCO's results
    tab_to("#save-one")
    tab_to("#save-all")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert download.value.suggested_filename == "detections.json"
    tab_to("#list button")
    page.keyboard.press("Enter")
    sync_api.expect(page.locator("#image-name")).to_have_text("a.png")
    page.keyboard.press("ArrowRight")
    sync_api.expect(page.locator("#image-name")).to_have_text("b.png")


# --- several images -------------------------------------------------------------------------------


def test_many_images_are_summed_and_saved_together(open_page, address):
    page = open_page(address)
    upload(page, *[file(f"{number}.png", value=number) for number in range(12)])
    sync_api.expect(page.locator("#progress")).to_have_text("12 images")
    page.locator("#scope span").nth(1).click()
    # Of values 0, 2, … the first object is red, of the others white.
    number = 2 * (6 * 0.9 + 12 * 0.6)
    sync_api.expect(page.locator("#counts tbody tr").first).to_contain_text(f"{number:.1f}")
    assert counts(page)["red"] == ["18", f"{number:.1f}", "13 – 37"]
    page.select_option("#format", "csv")
    name, content = saved(page, "#save-all")
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert name == "detections.csv" and len(rows) == 24
    assert {row["file_name"] for row in rows} == {f"{number}.png" for number in range(12)}
    page.select_option("#format", "voc")
    name, content = saved(page, "#save-all")
    assert name == "detections.zip"
    assert len(zipfile.ZipFile(io.BytesIO(content)).namelist()) == 12
    page.click("#clear")
    sync_api.expect(page.locator("#work")).to_be_hidden()
    upload(page, *[file(f"{number}.png", value=8) for number in range(12)])
    sync_api.expect(page.locator("#counts tbody tr").first).to_contain_text("36")
    sync_api.expect(page.locator("#progress")).to_have_text("12 images")


def test_a_folder_gives_its_images(open_page, address, tmp_path):
    (tmp_path / "slides" / "more").mkdir(parents=True)
    for name in ("a.png", "more/b.png", "notes.txt"):
        (tmp_path / "slides" / name).write_bytes(encoded())
    page = open_page(address)
    sync_api.expect(page.locator("#drop")).to_be_visible()
    page.set_input_files("#folder", tmp_path / "slides")
    sync_api.expect(page.locator("#progress")).to_have_text("2 images")
    assert sorted(page.locator("#list b").all_inner_texts()) == ["slides/a.png",
                                                                "slides/more/b.png"]
    sync_api.expect(page.locator("#message")).to_contain_text("1 file in the folder is no image")


def test_a_tiff_is_shown(open_page, address):
    content = io.BytesIO()
    Image.new("RGB", (40, 20), (200, 30, 30)).save(content, "TIFF")
    page = open_page(address)
    upload(page, file("a.tif", content.getvalue()))
    sync_api.expect(page.locator("#progress")).to_have_text("1 image")
    page.locator("#picture").evaluate("picture => picture.decode()")
    assert page.locator("#picture").evaluate("picture => picture.naturalWidth") == 40
    box = page.locator("#stage").bounding_box()
    assert box["width"] / box["height"] == pytest.approx(2, rel=0.01)


def test_zoom_keeps_boxes_on_their_objects(open_page, address):
    page = open_page(address)
    upload(page, file("a.png", encoded(3, (20, 10))))

    def place():
        picture, drawn = (page.locator(name).bounding_box()
                          for name in ("#picture", "#boxes g:last-child .line"))
        scale = picture["width"] / 20
        return scale, (drawn["x"] - picture["x"]) / scale, (drawn["y"] - picture["y"]) / scale

    before = place()
    page.click("#zoom-in")
    page.click("#zoom-in")
    after = place()
    assert after[0] == pytest.approx(2.25 * before[0], rel=0.01)
    assert after[1:] == pytest.approx(before[1:], abs=0.1)
    page.click("#zoom-fit")
    assert place()[0] == pytest.approx(before[0])


def test_names_are_text(open_page, address):
    page = open_page(address)
    name = "<img src=x onerror=alert(1)>.png"
    upload(page, file(name))
    assert page.locator("#list b").inner_text() == name
    assert page.locator("#image-name").inner_text() == name


# --- what goes wrong ------------------------------------------------------------------------------


def test_bad_files_say_what_to_do_and_others_go_on(open_page, address):
    page = open_page(address)
    upload(page, file("text.png", b"hello"), file("big.bmp", bytes(300_000)), file("good.png"),
           file("empty.png", b""))
    sync_api.expect(page.locator("#progress")).to_have_text("4 images, 3 not readable")
    failed = page.locator("#list .failed small").all_inner_texts()
    assert failed == [
        "Is not an image of a known format; send a PNG, JPEG, TIFF, BMP, WebP, GIF, PPM, JPEG 2000 "
        "or AVIF file.",
        "The file has 0.3 MB, more than the 0.2 MB that the server accepts; choose a smaller one.",
        "The file is empty; send a PNG, JPEG, TIFF, BMP, WebP, GIF, PPM, JPEG 2000 or AVIF file."]
    assert page.locator("#list .done small").all_inner_texts() == ["2 objects"]


def test_a_busy_server_is_waited_for(open_page):
    with serving(make_service(Echo(seconds=0.3), limits={"queue": 1})) as address:
        page = open_page(address)
        sync_api.expect(page.locator("#drop")).to_be_visible()
        page.set_input_files("#files", [file(f"{number}.png") for number in range(4)])
        sync_api.expect(page.locator("#progress")).to_have_text("4 images", timeout=30_000)


def test_a_server_that_is_gone_is_said(open_page):
    with serving(make_service()) as address:
        page = open_page(address)
        sync_api.expect(page.locator("#drop")).to_be_visible()
    page.context.set_offline(True)
    page.set_input_files("#files", [file("a.png")])
    sync_api.expect(page.locator("#list small")).to_contain_text("cannot be reached")
    assert page.locator("#progress").inner_text() == "1 image, 1 not readable"


def test_the_token_is_asked_for(open_page):
    with serving(make_service(access=Access(TOKEN))) as address:
        page = open_page(address)
        sync_api.expect(page.locator("#login")).to_be_visible()
        sync_api.expect(page.locator("#drop")).to_be_hidden()
        page.fill("#token", "wrong")
        page.keyboard.press("Enter")
        sync_api.expect(page.locator("#login-error")).to_have_text("This is not the token.")
        page.fill("#token", TOKEN)
        page.keyboard.press("Enter")
        sync_api.expect(page.locator("#drop")).to_be_visible()
        upload(page, file("a.png"))
        assert saved(page, "#save-one")[0] == "a.geojson"
        page.reload()  # kept for the tab
        sync_api.expect(page.locator("#drop")).to_be_visible()
        assert not page.evaluate("localStorage.length") and TOKEN not in page.url


def test_without_a_calibration_counts_are_raw_and_it_says_so(open_page):
    with serving(make_service()) as address:
        page = open_page(address)
        upload(page, file("a.png", value=8))
        assert counts(page) == {"red": ["2"], "white": ["0"], "Together": ["2"]}
        sync_api.expect(page.locator("#counts-note")).to_contain_text("raw counts")


def test_what_the_page_names_is_there(open_page, address):
    """Every id that the script looks for."""
    page = open_page(address)
    from frcnn.serve.app import PAGE

    for path in PAGE.glob("*.js"):
        for name in re.findall(r'byId\("([a-z-]+)"\)', path.read_text("utf-8")):
            assert page.locator(f"#{name}").count() == 1, name
