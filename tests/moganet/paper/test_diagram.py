"""The diagram of the network: that of the first page is drawn by this code."""

import numpy as np

from moganet.io.images import read_image
from moganet.paper import diagram
from moganet.paper.metafile import CHECKOUT


def test_diagram_of_the_first_page_is_up_to_date(tmp_path):
    # Mended by: python tools/make_figures.py --only architecture
    drawn = read_image(diagram.draw_network(tmp_path / 'network.png'))
    published = read_image(CHECKOUT / 'docs/figures/architecture.png')
    assert drawn.shape == (int(diagram.HEIGHT * diagram.DPI), int(diagram.WIDTH * diagram.DPI), 3)
    assert published.shape == drawn.shape
    assert np.abs(published.astype(int) - drawn).mean() < 0.5


def test_diagram_shows_every_size(tmp_path, monkeypatch):
    texts = []
    monkeypatch.setattr(diagram, '_text', lambda axes, x, y, text, **style: texts.append(text))
    diagram.draw_network(tmp_path / 'network.png')
    for arch in diagram.ARCHS.values():
        sizes = [f'{c} × {d}' for c, d in zip(arch['embed_dims'], arch['depths'], strict=True)]
        assert set(sizes) <= set(texts)
    assert [text for text in texts if 'DW 5×5, dilation 2' in text] == ['3/8 C: DW 5×5, dilation 2']
