"""Who may ask: tokens, hosts, origins; and the headers of every answer."""

import pytest
from serve_tools import Echo, client_of, encoded, error_of, make_service, upload
from starlette.datastructures import Headers

from frcnn.serve.guard import LOCAL_NAMES, Access, host_name, is_loopback
from frcnn.serve.guard import client_of as client_address
from frcnn.serve.limits import Refusal

TOKEN = "correct-horse-battery"


@pytest.mark.parametrize("host, local", [
    ("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("[::1]", True), ("localhost", True),
    ("0.0.0.0", False), ("::", False), ("192.168.1.7", False), ("example.org", False), ("", False)])
def test_which_addresses_are_of_this_machine_alone(host, local):
    assert is_loopback(host) is local


@pytest.mark.parametrize("text, name", [
    ("localhost:8000", "localhost"), ("LocalHost", "localhost"), ("[::1]:8000", "::1"),
    ("127.0.0.1", "127.0.0.1"), ("", "")])
def test_the_name_in_a_host_header(text, name):
    assert host_name(text) == name


def test_names_that_are_allowed():
    assert set(Access.for_address("127.0.0.1", None).hosts) == set(LOCAL_NAMES)
    assert "lab" in Access.for_address("127.0.0.1", None, ["Lab"]).hosts
    assert Access.for_address("0.0.0.0", TOKEN).hosts is None  # the token guards it
    assert "lab" in Access.for_address("0.0.0.0", TOKEN, ["lab"]).hosts
    assert TOKEN not in repr(Access(TOKEN))


@pytest.mark.parametrize("address, client", [
    ("10.0.0.1", "10.0.0.1"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
    ("::ffff:10.0.0.1", "::ffff:10.0.0.1"), ("testclient", "testclient")])
def test_whose_rate_counts(address, client):
    assert client_address({"client": (address, 1)}) == client


@pytest.mark.parametrize("given", [
    None, "", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer ü"])
def test_a_wrong_token_is_refused(given):
    headers = Headers({} if given is None else {"authorization": given})
    with pytest.raises(Refusal, match="Authorization: Bearer TOKEN") as refused:
        Access(TOKEN).check_token(headers)
    assert refused.value.status == 401 and refused.value.headers == {"WWW-Authenticate": "Bearer"}
    Access(TOKEN).check_token(Headers({"authorization": f"bearer {TOKEN}"}))


@pytest.fixture(scope="module")
def guarded():
    with client_of(make_service(access=Access(TOKEN))) as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/page/main.js", "/page/style.css", "/docs", "/openapi.json",
                                  "/healthz", "/favicon.ico"])
def test_the_page_needs_no_token(guarded, path):
    assert guarded.get(path).status_code == 200


@pytest.mark.parametrize("method, path", [
    ("GET", "/v1/model"), ("GET", "/metrics"), ("POST", "/v1/detect"), ("POST", "/v1/export"),
    ("POST", "/v1/totals"), ("GET", "/v1/../metrics"), ("GET", "/other"), ("GET", "//v1/model"),
    ("GET", "/page/../v1/model")])
def test_all_else_needs_the_token(guarded, method, path):
    error_of(guarded.request(method, path), 401)


def test_with_the_token_it_detects(guarded):
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert guarded.get("/v1/model", headers=headers).status_code == 200
    done = guarded.post("/v1/detect", files={"file": encoded()}, headers=headers)
    assert done.status_code == 200 and len(done.json()["detections"]) == 2


def test_tokens_cannot_be_tried_at_any_rate():
    with client_of(make_service(access=Access(TOKEN), limits={"rate": 8})) as client:
        statuses = [client.get("/v1/model", headers={"Authorization": f"Bearer {number}"})
                    .status_code for number in range(5)]
    assert statuses == [401] * 2 + [429] * 3


@pytest.fixture(scope="module")
def local():
    with client_of(make_service()) as client:
        yield client


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", ""])
def test_a_name_that_leads_here_is_refused(local, host):
    """A page of another site that rebinds its name to 127.0.0.1 would be of one origin with us."""
    assert "is not called" in error_of(local.get("/v1/model", headers={"Host": host}), 400)
    error_of(local.get("/", headers={"Host": host}), 400)


@pytest.mark.parametrize("headers", [
    {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"}, {"Origin": "http://127.0.0.1:1"}])
def test_pages_of_other_sites_cannot_send(local, headers):
    done = local.post("/v1/detect", files={"file": encoded()}, headers=headers)
    assert "other sites" in error_of(done, 403)


def test_its_own_page_can_send(local):
    own = str(local.base_url).rstrip("/")
    done = local.post("/v1/detect", files={"file": encoded()},
                      headers={"Origin": own, "Sec-Fetch-Site": "same-origin"})
    assert done.status_code == 200


@pytest.mark.parametrize("path, status", [("/", 200), ("/v1/model", 200), ("/none", 404),
                                          ("/v1/detect", 405)])
def test_every_answer_has_the_headers(local, path, status):
    done = local.get(path)
    assert done.status_code == status
    policy = done.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert done.headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in done.headers
    assert "server" not in done.headers


def test_a_preflight_is_not_allowed(local):
    done = local.options("/v1/detect", headers={
        "Origin": "https://evil.example", "Access-Control-Request-Method": "POST"})
    error_of(done, 403)
    assert not [name for name in done.headers if name.startswith("access-control")]


def test_a_fault_is_one_sentence_without_details():
    with client_of(make_service(Echo(error=RuntimeError("secret")))) as client:
        assert "secret" not in error_of(upload(client, encoded()), 500)
        assert 'frcnn_image_errors_total 1.0' in client.get("/metrics").text
        assert client.get("/healthz").status_code == 200
