import hashlib
import io

import pytest
import requests

from odevae.data.download import TIMEOUT_S, fetch
from odevae.errors import OdevaeError

CONTENT = b"a recording" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
URL = "https://data.example/some/folder/a%20file.mat?raw=1"


@pytest.fixture
def network(monkeypatch):
    """A network that answers `CONTENT` and notes what it was asked; set `error` to make it fail."""

    class Network:
        asked = ()
        error = None
        status = 200

        def get(self, url, timeout, stream):
            assert stream, "a recording may be larger than the memory"
            self.asked += ((url, timeout),)
            if self.error:
                raise self.error
            response = requests.Response()
            response.status_code, response.raw = self.status, io.BytesIO(CONTENT)
            return response

    fake = Network()
    monkeypatch.setattr(requests, "get", fake.get)
    return fake


def test_download(tmp_path, network):
    fetch(URL, SHA256, tmp_path / "new" / "file.mat")
    assert (tmp_path / "new" / "file.mat").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["file.mat"]
    assert network.asked == ((URL, TIMEOUT_S),)
    (tmp_path / "any file").touch()
    assert (tmp_path / "new" / "file.mat").stat().st_mode == (tmp_path / "any file").stat().st_mode


def test_from_a_folder_without_network(tmp_path, network):
    (tmp_path / "a file.mat").write_bytes(CONTENT)
    fetch(URL, SHA256.upper(), tmp_path / "out.mat", folder=tmp_path)
    assert (tmp_path / "out.mat").read_bytes() == CONTENT
    assert not network.asked


@pytest.mark.parametrize("from_folder", [False, True])
def test_a_wrong_checksum_leaves_nothing_behind_and_says_both(tmp_path, network, from_folder):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a file.mat").write_bytes(CONTENT)
    expected = "0" * 64
    with pytest.raises(OdevaeError) as refusal:
        fetch(URL, expected, tmp_path / "out" / "file.mat", folder=folder if from_folder else None)
    assert expected in str(refusal.value)
    assert SHA256 in str(refusal.value)
    assert not list((tmp_path / "out").iterdir())


def test_an_older_file_outlives_a_failed_fetch(tmp_path, network):
    (tmp_path / "file.mat").write_bytes(b"older")
    with pytest.raises(OdevaeError):
        fetch(URL, "0" * 64, tmp_path / "file.mat")
    assert (tmp_path / "file.mat").read_bytes() == b"older"


@pytest.mark.parametrize(
    "error", [requests.ConnectionError("no route"), requests.Timeout("timed out"), ConnectionResetError()]
)
def test_a_closed_network_names_the_way_out(tmp_path, network, error):
    network.error = error
    with pytest.raises(OdevaeError, match="ODEVAE_DATA_DIR"):
        fetch(URL, SHA256, tmp_path / "file.mat")
    assert not list(tmp_path.iterdir())


def test_an_answer_that_is_no_file(tmp_path, network):
    network.status = 404
    with pytest.raises(OdevaeError, match="cannot be downloaded"):
        fetch(URL, SHA256, tmp_path / "file.mat")
    assert not list(tmp_path.iterdir())


def test_a_folder_without_the_file(tmp_path, network):
    with pytest.raises(OdevaeError, match=r"a file\.mat: there is no such file"):
        fetch(URL, SHA256, tmp_path / "out" / "file.mat", folder=tmp_path)
    assert not list((tmp_path / "out").iterdir())


def test_a_file_in_a_folder_below(tmp_path, network):
    """Of files of one name in several folders, the one with the right checksum."""
    for place, content in {"a": b"another", "b/c": CONTENT, "d": b"a third"}.items():
        (tmp_path / "data" / place).mkdir(parents=True)
        (tmp_path / "data" / place / "a file.mat").write_bytes(content)
    fetch(URL, SHA256, tmp_path / "out.mat", folder=tmp_path / "data")
    assert (tmp_path / "out.mat").read_bytes() == CONTENT
    with pytest.raises(OdevaeError, match="is expected"):
        fetch(URL, "0" * 64, tmp_path / "out.mat", folder=tmp_path / "data")
    assert not network.asked


@pytest.mark.parametrize("url", ["http://data.example/a.mat", "file:///etc/hostname", "a.mat"])
def test_only_https_is_downloaded(tmp_path, network, url):
    with pytest.raises(OdevaeError, match="not an https:// address"):
        fetch(url, SHA256, tmp_path / "a.mat")
    assert not network.asked
