"""Published weights: the table, the searched folders and downloads."""

import concurrent.futures
import functools
import hashlib
import http.server
import threading

import pytest
import torch

from moganet.arch import ARCHS
from moganet.checkpoint import fetch, find_weights, list_weights, load_checkpoint, published

OFFICIAL_NAMES = ['small_1k', 'xtiny_1k', 'xtiny_1k_256', 'tiny_1k', 'tiny_1k_256', 'base_1k', 'large_1k', 'xlarge_1k']
CONTENT = {'state_dict': {'a': torch.tensor([1.0, 2.0])}}


@pytest.fixture
def places(tmp_path, monkeypatch):
    """(folder named by MOGANET_WEIGHTS, torch hub's cache), both empty."""
    own, hub = tmp_path / 'own', tmp_path / 'hub'
    own.mkdir()
    monkeypatch.setenv('MOGANET_WEIGHTS', str(own))
    monkeypatch.setenv('TORCH_HOME', str(hub))
    monkeypatch.setenv('no_proxy', '*')
    return own, hub / 'hub' / 'checkpoints'


class Handler(http.server.SimpleHTTPRequestHandler):
    """Server of a folder that sends only half of files called cut*."""

    requests = 0

    def log_message(self, *args):
        pass

    def do_GET(self):
        type(self).requests += 1
        if '/cut' not in self.path:
            return super().do_GET()
        self.send_response(200)
        self.send_header('Content-Length', '100')
        self.end_headers()
        self.wfile.write(b'x' * 50)


@pytest.fixture
def server(tmp_path):
    """(address, folder) of a web server on this machine."""
    folder = tmp_path / 'served'
    folder.mkdir()
    Handler.requests = 0
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(Handler, directory=folder)) as httpd:
        threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
        yield f'http://127.0.0.1:{httpd.server_port}', folder
        httpd.shutdown()


@pytest.fixture
def row(server, monkeypatch):
    """A row of the table whose file is on ``server``, with its checksum."""
    address, folder = server
    torch.save(CONTENT, folder / 'w.pth')
    digest = hashlib.sha256((folder / 'w.pth').read_bytes()).hexdigest()
    weights = published.PublishedWeights('det/w', f'{address}/w.pth', 'tiny', 'single', 'openmmlab', digest)
    monkeypatch.setattr(published, 'WEIGHTS', (*published.WEIGHTS, weights))
    return weights


def classifiers():
    """The rows of classifiers: names of other tasks have a folder."""
    return [row for row in list_weights() if '/' not in row.name]


def test_table_holds_each_published_file_once():
    rows = list_weights()
    assert len({row.name for row in rows}) == len({row.file for row in rows}) == len(rows)
    assert all(row.arch in ARCHS for row in rows if row.gate)  # others have no MogaNet for a backbone


def test_table_holds_each_published_classifier():
    assert len(classifiers()) == 24
    assert all(row.arch in row.name for row in classifiers())


def test_table_gives_official_weights_the_single_gate():
    for name in OFFICIAL_NAMES:
        row = find_weights(name)
        assert (row.gate, row.layout) == ('single', 'official')
        assert row.url.startswith('https://github.com/Westlake-AI/MogaNet/releases/download/moganet-in1k-weights/')
        assert row.file.endswith('.pth.tar')


def test_table_gives_openmixup_weights_the_double_gate_save_one():
    rows = [row for row in classifiers() if row.name not in OFFICIAL_NAMES]
    assert {row.layout for row in rows} == {'mmpretrain'}
    assert [row.file for row in rows if row.gate == 'single'] == ['moga_small_ema_sz224_8xb128_no_forcefp32_ep300.pth']


@pytest.mark.parametrize(
    ('name', 'file'),
    [
        ('small_1k', 'moganet_small_sz224_8xbs128_ep300.pth.tar'),
        ('moganet://xlarge_1k', 'moganet_xlarge_sz224_8xbs64_ep300.pth.tar'),
        ('openmixup_tiny_1k_256_refined', 'moga_tiny_deit3_sz256_lr2e_3_8xb128_fp16_ep300.pth'),
        ('openmixup_large_1k_rsb_a3', 'moga_large_rsb_a3_sz160_8xb128_accu2_ep100.pth'),
    ],
)
def test_find_weights_knows_name(name, file):
    assert find_weights(name).file == file


def test_find_weights_offers_near_names():
    with pytest.raises(ValueError, match=r'moganet://smal_1k: no published weights.*small_1k'):
        find_weights('moganet://smal_1k')


def test_own_folder_goes_before_hub_cache(places):
    own, hub = places
    hub.mkdir(parents=True)
    file = find_weights('tiny_1k').file
    torch.save(CONTENT, hub / file)
    assert fetch.resolve('moganet://tiny_1k') == hub / file
    torch.save(CONTENT, own / file)
    assert fetch.resolve('moganet://tiny_1k') == own / file


def test_missing_own_folder_is_named(places, monkeypatch):
    monkeypatch.setenv('MOGANET_WEIGHTS', '/no/such/folder')
    with pytest.raises(ValueError, match='MOGANET_WEIGHTS=/no/such/folder: no such folder'):
        fetch.resolve('moganet://tiny_1k')


def test_download_goes_into_hub_cache_once(places, row):
    for _ in range(2):
        assert torch.equal(load_checkpoint('moganet://det/w')['state_dict']['a'], CONTENT['state_dict']['a'])
    assert [path.name for path in places[1].iterdir()] == ['w.pth']
    assert Handler.requests == 1


def test_processes_that_ask_at_once_download_once(places, row):
    # flock tells open files apart, so threads stand in for processes.
    start = threading.Barrier(4)

    def ask(_):
        start.wait()
        return fetch.resolve('moganet://det/w')

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert set(pool.map(ask, range(4))) == {places[1] / 'w.pth'}
    assert Handler.requests == 1
    assert [path.name for path in places[1].iterdir()] == ['w.pth']


def test_download_of_another_file_is_refused(places, row, server):
    torch.save(dict(CONTENT, more=1), server[1] / 'w.pth')
    with pytest.raises(ValueError, match=f'sha256 .* published is {row.sha256}'):
        load_checkpoint('moganet://det/w')
    assert list(places[1].iterdir()) == []


@pytest.mark.parametrize('source', ['name', 'address'])
def test_checksum_of_cached_file_is_verified(places, row, source):
    places[1].mkdir(parents=True)
    torch.save(dict(CONTENT, more=1), places[1] / 'w.pth')
    with pytest.raises(ValueError, match=r'w.pth has the sha256 .*, published is'):
        load_checkpoint('moganet://det/w' if source == 'name' else row.url)


@pytest.mark.parametrize(
    ('file', 'reason'),
    [('cut.pth', '50 of 100 bytes'), ('page.pth', 'a web page arrived'), ('absent.pth', 'HTTP Error 404')],
)
def test_failed_download_leaves_nothing(places, server, file, reason):
    address, folder = server
    (folder / 'page.pth').write_text('<!DOCTYPE html><html></html>')
    with pytest.raises(FileNotFoundError, match=reason):
        fetch.resolve(f'{address}/{file}')
    assert list(places[1].iterdir()) == []


def test_offline_error_names_file_address_and_place(places, monkeypatch):
    def offline(*args, **kwargs):
        raise OSError('network is unreachable')

    monkeypatch.setattr(fetch.urllib.request, 'urlopen', offline)
    with pytest.raises(FileNotFoundError) as error:
        load_checkpoint('moganet://small_1k')
    row, (own, hub) = find_weights('small_1k'), places
    for part in (row.file, row.url, str(own), f'put it into {hub}', 'network is unreachable'):
        assert part in str(error.value)


def test_address_without_file_is_refused():
    with pytest.raises(ValueError, match='names no file'):
        fetch.resolve('https://example.com/')
