"""The routes: what they answer, what they refuse while others are under way, what they count."""

import json
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from serve_tools import (
    NAMES,
    Doubling,
    Echo,
    client_of,
    encoded,
    error_of,
    expected,
    make_service,
    serving,
    upload,
)

from frcnn.formats.registry import FORMATS
from frcnn.serve.app import PAGE
from frcnn.serve.counting import Calibration


@pytest.fixture(scope="module")
def client():
    with client_of(make_service(limits={"rate": 100_000})) as client:
        yield client


def figure(client, name):
    """The value of a figure by the start of its line."""
    text = client.get("/metrics").text
    return float(re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)[1])


# --- many at a time -------------------------------------------------------------------------------


def test_each_of_many_clients_gets_its_own_answer():
    detector = Echo(seconds=0.01)
    with serving(make_service(detector, limits={"rate": 100_000})) as address:
        def ask(seed):
            random = np.random.default_rng(seed)
            with httpx.Client(base_url=address, timeout=60) as own:
                for _ in range(25):
                    value = int(random.integers(0, 256))
                    size = int(random.integers(4, 60)), int(random.integers(4, 60))
                    answer = upload(own, encoded(value, size), f"{value}.png").json()
                    assert answer["detections"][0]["box"] == expected(value)[0][0]
                    assert answer["image"] == {"name": f"{value}.png", "width": size[0],
                                               "height": size[1]}
            return True

        with ThreadPoolExecutor(8) as pool:
            assert all(pool.map(ask, range(8)))
        assert sum(detector.batches[1:]) == 200 and max(detector.batches) > 1
        with httpx.Client(base_url=address) as own:
            assert figure(own, "frcnn_images_total") == 200
            assert figure(own, 'frcnn_requests_total{method="POST",route="/v1/detect",'
                               'status="200"}') == 200
            assert figure(own, "frcnn_batch_images_sum") == 200
            assert figure(own, "frcnn_requests_under_way") == 0


@pytest.mark.parametrize("limits, text", [
    ({"queue": 2}, "as many requests are under way"),
    ({"max_bytes": 1000, "queue": 100}, "files wait"),
    ({"max_pixels": 200, "queue": 100}, "images wait")])
def test_too_many_at_once_are_told_to_come_again(limits, text):
    """With the largest images, four fill the memory; with a queue of two, two the queue."""
    service = make_service(Echo(seconds=0.5), limits=limits)
    content = encoded(size=(20, 10)) if "max_pixels" in limits else encoded()
    content += bytes(max(0, limits.get("max_bytes", 0) - len(content) - 200))
    together = threading.Barrier(12)
    with serving(service) as address:
        def ask(_, wait=together.wait):
            with httpx.Client(base_url=address, timeout=60) as own:
                wait()
                return upload(own, content)

        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(ask, range(12)))
        refused = [answer for answer in answers if answer.status_code != 200]
        assert 0 < len(refused) < 12
        for answer in refused:
            assert text in error_of(answer, 503) and int(answer.headers["retry-after"]) > 0
        assert ask(0, wait=lambda: None).status_code == 200


def test_a_client_that_sends_too_much_is_slowed_down_and_the_page_is_not():
    with client_of(make_service(limits={"rate": 8})) as client:
        statuses = [upload(client, encoded()).status_code for _ in range(4)]
        assert statuses == [200] * 2 + [429] * 2
        done = client.get("/v1/model")
        assert "8 a minute" in error_of(done, 429) and int(done.headers["retry-after"]) > 0
        assert client.get("/").status_code == client.get("/healthz").status_code == 200


# --- the model ------------------------------------------------------------------------------------


def test_until_the_model_is_loaded_it_is_not_healthy():
    service = make_service()
    with serving(service, started=False) as address, httpx.Client(base_url=address) as client:
        for done in (client.get("/healthz"), upload(client, encoded())):
            assert "being loaded" in error_of(done, 503) and done.headers["retry-after"] == "3"
        assert figure(client, "frcnn_ready") == 0
        service.batcher.start()
        assert service.batcher.wait_until_ready(10)
        assert client.get("/healthz").json() == {"status": "ready"}
        assert figure(client, "frcnn_ready") == 1


def test_the_model_is_described(client):
    answer = client.get("/v1/model").json()
    assert [entry["name"] for entry in answer["classes"]] == NAMES[1:]
    assert all(re.fullmatch("#[0-9a-f]{6}", entry["color"]) for entry in answer["classes"])
    assert (answer["lowest_score"], answer["default_score"]) == (0.05, 0.5)
    assert [entry["name"] for entry in answer["formats"]] == list(FORMATS)
    assert answer["calibrated"] is False and answer["limits"]["max_pixels"] == 50_000_000


def test_a_preview_is_the_image_as_it_was_read(client):
    import base64
    import io

    from PIL import Image

    answer = upload(client, encoded(90, (3000, 1500), format="TIFF"), preview=True).json()
    kind, _, content = answer["preview"].partition(",")
    picture = Image.open(io.BytesIO(base64.b64decode(content)))
    assert kind == "data:image/jpeg;base64" and picture.size == (2000, 1000)
    assert abs(np.asarray(picture).astype(int) - 90).max() <= 1


# --- expected numbers -----------------------------------------------------------------------------


def test_with_a_calibration_numbers_are_expected():
    """Of class 1 alone, and of detections from 0.3 on."""
    calibration = Calibration(0.3, {1: Doubling()})
    with client_of(make_service(calibration=calibration)) as client:
        assert client.get("/v1/model").json()["calibrated"] is True
        answers = [upload(client, encoded(8), min_score=score).json() for score in (0.1, 0.8)]
        red, white = answers[0]["counts"]
        assert red["detected"] == 2 and red["expected"] == pytest.approx(3.0)
        assert red["interval"] == [2, 4]
        assert white["detected"] == 1 and white["expected"] is white["interval"] is None
        # The least score changes what is counted, and not what is expected.
        assert answers[1]["counts"][0] == {**red, "detected": 1}
        images = [{"detections": answers[0]["detections"]}, {"detections": []},
                  {"detections": [{"class_id": 1, "score": 0.29}, {"class_id": 1, "score": 0.5},
                                  {"class_id": 99, "score": 0.5}]}]
        total = client.post("/v1/totals", json={"images": images}).json()
        assert list(total["counts"]) == ["1"]
        assert total["counts"]["1"] == {"expected": pytest.approx(4.0), "interval": [1, 7]}


@pytest.mark.parametrize("content", [
    "{", "[]", "{}", '{"images": []}', '{"images": [{}]}', "[" * 100_000,
    *('{"images": [{"detections": [{"class_id": 1, "score": SCORE}]}]}'.replace("SCORE", score)
      for score in ("-1", "NaN", '"many"', "1e999", "null"))])
def test_totals_of_something_else(client, content):
    error_of(client.post("/v1/totals", content=content), 422)


# --- the page and its description -----------------------------------------------------------------


def test_the_page_and_its_files_are_served(client):
    assert client.get("/").content == (PAGE / "index.html").read_bytes()
    for path in PAGE.iterdir():
        done = client.get(f"/page/{path.name}")
        assert done.content == path.read_bytes()
    for path in ("/page/none.js", "/page/../app.py", "/page/%2e%2e/app.py", "/none"):
        assert "no such page" in error_of(client.get(path), 404)


def test_the_page_loads_nothing_from_elsewhere_and_runs_nothing_in_itself():
    for path in PAGE.iterdir():
        text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?:|(inner|outer|Adjacent)HTML|document\.write|eval\(", text), \
            path.name
        if path.suffix == ".html":
            assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son[a-z]+=", text)


def test_the_description_has_what_is_served(client):
    description = client.get("/openapi.json").json()
    assert set(description["paths"]) == {"/v1/detect", "/v1/export", "/v1/totals", "/v1/model",
                                         "/healthz", "/metrics"}
    detect = description["paths"]["/v1/detect"]["post"]
    assert set(detect["requestBody"]["content"]) == {"multipart/form-data", "image/*"}
    names = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(description)))
    assert names == set(description["components"]["schemas"])
    assert {"200", "400", "401", "413", "415", "429", "503"} <= set(detect["responses"])


def test_the_docs_are_plain_html(client):
    text = client.get("/docs").text
    for path in ("/v1/detect", "/v1/export", "/healthz", "min_score", "DetectAnswer"):
        assert path in text
    assert "<script" not in text and "style=" not in text
    # Every link leads somewhere.
    for target in set(re.findall(r'href="#([^"]+)"', text)):
        assert f'id="{target}"' in text
    for path in set(re.findall(r'(?:href|src)="(/[^"]*)"', text)):
        assert client.get(path).status_code == 200


def test_figures_have_few_names(client):
    for number in range(5):
        client.get(f"/none/{number}")
        client.request(f"M{number}", "/")
    text = client.get("/metrics").text
    assert 'route="other"' in text and "none" not in text and "M3" not in text
    assert "process_resident_memory_bytes" in text


def test_time_is_measured():
    service = make_service(Echo(seconds=0.2))
    with client_of(service) as client:
        begin = time.perf_counter()
        upload(client, encoded())
        taken = time.perf_counter() - begin
        service.batcher.close()  # when the batch is over
        assert 0.2 <= figure(client, 'frcnn_request_seconds_sum{route="/v1/detect"}') <= taken
        assert figure(client, "frcnn_batch_seconds_count") == 1
        assert figure(client, 'frcnn_objects_total{class_name="white"}') == 2
