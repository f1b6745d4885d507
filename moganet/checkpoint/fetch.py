"""From a name or address of weights to a file on this machine."""

import contextlib
import hashlib
import http.client
import logging
import os
import shutil
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import torch
from mmengine.logging import print_log

from ..io.files import atomic
from .published import find_weights, weights_of_file

WEIGHTS_FOLDER = 'MOGANET_WEIGHTS'
TIMEOUT = 30  # seconds without a byte
CHUNK = 1 << 20


def resolve(source: str | os.PathLike) -> Path:
    """The file that ``source`` means: a path, an http(s) address or ``moganet://NAME``.

    Names and addresses are looked for in the folder that the environment variable MOGANET_WEIGHTS names, then in
    torch hub's cache, and else downloaded into that cache. A path is returned as it is, whether it exists or not.

    Raises:
        ValueError: an unknown name, or a file whose checksum is not the published one.
        FileNotFoundError: not on this machine, and the download failed.
    """
    source = os.fspath(source)
    if source.startswith('moganet://'):
        row = find_weights(source)
        return fetch(row.url, row.sha256)
    if source.startswith(('http://', 'https://')):
        row = weights_of_file(_file_name(source))
        return fetch(source, row.sha256 if row and row.url == source else None)
    return Path(source).expanduser()


def fetch(url: str, sha256: str | None = None) -> Path:
    """The file of an http(s) address: see ``resolve``."""
    name = _file_name(url)
    folders = _folders()
    for folder in folders:
        if (folder / name).is_file():
            verify(folder / name, sha256)
            return folder / name
    path = folders[-1] / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _one_at_a_time(path):
            if not path.is_file():
                download(url, path, sha256)
    except (OSError, http.client.HTTPException) as error:
        raise FileNotFoundError(
            f'{name} is not in {" or ".join(map(str, folders))}, and downloading {url} failed ({error}). Download it '
            f'where that works and put it into {path.parent}, or into a folder that {WEIGHTS_FOLDER} names'
        ) from error
    return path


def verify(path: Path, sha256: str | None) -> None:
    """Compare a file with its published checksum; None passes.

    Raises:
        ValueError: another file, or a damaged one.
    """
    if sha256 is None:
        return
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    found = digest.hexdigest()
    if found != sha256:
        raise ValueError(f'{path} has the sha256 {found}, published is {sha256}: damaged or another file, delete it')


def download(url: str, path: Path, sha256: str | None = None) -> None:
    """Download ``url`` to ``path``, whole or not at all.

    Raises:
        ValueError: what arrived has another checksum.
        OSError, http.client.HTTPException: no connection, an early end, a web page instead of the file.
    """
    print_log(f'downloading {url} to {path}', logger='current')
    with atomic(path) as partial:
        request = urllib.request.Request(url, headers={'User-Agent': 'moganet'})
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response, partial.open('wb') as file:
            shutil.copyfileobj(response, file, CHUNK)
            size, expected = file.tell(), response.headers.get('Content-Length')
        # http.client ends a cut connection like a finished one.
        if expected is not None and size != int(expected):
            raise OSError(f'{size} of {expected} bytes arrived')
        if looks_like_page(partial):
            raise OSError('a web page arrived instead of the file')
        verify(partial, sha256)
    print_log(f'downloaded {path.name}, {size / 1e6:.1f} MB', logger='current', level=logging.INFO)


def looks_like_page(path: Path) -> bool:
    """Whether a file starts as HTML or XML does. No checkpoint format starts with '<'."""
    with path.open('rb') as file:
        return file.read(256).removeprefix(b'\xef\xbb\xbf').lstrip().startswith(b'<')


def _file_name(url: str) -> str:
    name = urllib.parse.unquote(urllib.parse.urlparse(url).path).rsplit('/', 1)[-1]
    if name in ('', '.', '..'):
        raise ValueError(f'{url}: the address names no file')
    return name


def _folders() -> list[Path]:
    """Where files are looked for; downloads go into the last one."""
    folders = [Path(torch.hub.get_dir(), 'checkpoints')]
    own = os.environ.get(WEIGHTS_FOLDER)
    if own:
        folders.insert(0, Path(own).expanduser())
        if not folders[0].is_dir():
            raise ValueError(f'{WEIGHTS_FOLDER}={own}: no such folder')
    return folders


@contextlib.contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """One process downloads while the others wait: a run on 8 GPUs asks 8 times at once."""
    import fcntl  # not on Windows, where everything else here works

    lock_path = path.with_name(f'{path.name}.lock')
    with lock_path.open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            lock_path.unlink(missing_ok=True)
