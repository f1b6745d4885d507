"""Finds the file of a name or address of weights on this machine, or downloads it."""

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
    """Return the file of ``source``: a path, an http(s) address or ``moganet://NAME``.

    The file of a name or address is searched in the folder of the environment variable MOGANET_WEIGHTS, then in torch
    hub's cache. If it is in neither, it is downloaded into that cache. A path is returned unchecked.

    Raises:
        ValueError: the name is unknown, or the file's checksum differs from the published one.
        FileNotFoundError: the file is not on this machine and the download failed.
    """
    source = os.fspath(source)
    if source.startswith('moganet://'):
        weights = find_weights(source)
        return fetch(weights.url, weights.sha256)
    if source.startswith(('http://', 'https://')):
        published = weights_of_file(_file_name(source))
        return fetch(source, published.sha256 if published and published.url == source else None)
    return Path(source).expanduser()


def fetch(url: str, sha256: str | None = None) -> Path:
    """Return the file of an http(s) address, as ``resolve`` does.

    Args:
        url: The address.
        sha256: Checksum that the file must have, None if unknown.

    Raises:
        ValueError: the file's checksum differs from ``sha256``.
        FileNotFoundError: the file is not on this machine and the download failed.
    """
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
    """Compare a file with its published checksum; do nothing if that is None.

    Raises:
        ValueError: the checksums differ.
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
    """Download a file; if the download fails, no file appears at ``path``.

    Args:
        url: The http(s) address.
        path: The file to write. Its folder must exist.
        sha256: Checksum that the file must have, None if unknown.

    Raises:
        ValueError: the file has another checksum.
        OSError, http.client.HTTPException: there is no connection, it ends early, or it brings a web page.
    """
    print_log(f'downloading {url} to {path}', logger='current')
    with atomic(path) as partial:
        request = urllib.request.Request(url, headers={'User-Agent': 'moganet'})
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response, partial.open('wb') as file:
            shutil.copyfileobj(response, file, CHUNK)
            size, expected = file.tell(), response.headers.get('Content-Length')
        # http.client does not report a connection that is cut.
        if expected is not None and size != int(expected):
            raise OSError(f'{size} of {expected} bytes arrived')
        if looks_like_page(partial):
            raise OSError('a web page arrived instead of the file')
        verify(partial, sha256)
    print_log(f'downloaded {path.name}, {size / 1e6:.1f} MB', logger='current', level=logging.INFO)


def looks_like_page(path: Path) -> bool:
    """Return whether a file starts like HTML or XML. No checkpoint format starts with '<'."""
    with path.open('rb') as file:
        return file.read(256).removeprefix(b'\xef\xbb\xbf').lstrip().startswith(b'<')


def _file_name(url: str) -> str:
    name = urllib.parse.unquote(urllib.parse.urlparse(url).path).rsplit('/', 1)[-1]
    if name in ('', '.', '..'):
        raise ValueError(f'{url}: the address names no file')
    return name


def _folders() -> list[Path]:
    """Return the folders to search, in order. Downloads go into the last one."""
    folders = [Path(torch.hub.get_dir(), 'checkpoints')]
    setting = os.environ.get(WEIGHTS_FOLDER)
    if setting:
        folders.insert(0, Path(setting).expanduser())
        if not folders[0].is_dir():
            raise ValueError(f'{WEIGHTS_FOLDER}={setting}: no such folder')
    return folders


@contextlib.contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Let one process download while the others wait: the 8 processes of a run ask for the same file at once."""
    import fcntl  # missing on Windows, where the rest of this file works

    lock_path = path.with_name(f'{path.name}.lock')
    with lock_path.open('w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            lock_path.unlink(missing_ok=True)
