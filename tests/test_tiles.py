"""Properties of tiles that must hold for any size."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from segnb.infer.tiles import read_window, stitch, tile_grid

side, tile, pad = st.integers(1, 70), st.integers(1, 40), st.integers(0, 90)


@settings(max_examples=150, deadline=None)
@given(st.tuples(side, side), st.tuples(tile, tile), st.tuples(pad, pad))
def test_every_pixel_is_kept_once_and_no_tile_is_idle(size, tile_size, pad_size):
    tiles, count = tile_grid(size, tile_size, pad_size), np.zeros(size[::-1], int)
    for t in tiles:
        assert t.keep.w > 0 and t.keep.h > 0
        assert (t.seen.w, t.seen.h) == (t.keep.w + 2 * pad_size[0], t.keep.h + 2 * pad_size[1])
        assert t.keep.w == tile_size[0] or t.keep.x + t.keep.w == size[0]
        assert t.keep.h == tile_size[1] or t.keep.y + t.keep.h == size[1]
        count[t.keep.y : t.keep.y + t.keep.h, t.keep.x : t.keep.x + t.keep.w] += 1
    assert (count == 1).all()


@settings(max_examples=150, deadline=None)
@given(st.tuples(side, side), st.tuples(tile, tile), st.tuples(pad, pad), st.integers(0, 9))
def test_windows_hold_the_image_where_they_keep_it(size, tile_size, pad_size, seed):
    image = np.random.default_rng(seed).integers(0, 255, (*size[::-1], 2), np.uint8)
    tiles = tile_grid(size, tile_size, pad_size)
    windows = [read_window(image, t.seen) for t in tiles]
    assert all(w.shape == (t.seen.h, t.seen.w, 2) for w, t in zip(windows, tiles, strict=True))
    assert (stitch(((t, w[t.inner]) for t, w in zip(tiles, windows, strict=True)), np.zeros_like(image)) == image).all()
