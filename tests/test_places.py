"""Maps lie where their images lie, also where only a neighbour of the image says so."""

import cv2
import numpy as np
import pytest
import rasterio
import zarr

from segnb.all import Compose, FastSCNN, Normalize, georeference

LINES = {"north": "0.5\n0\n0\n-0.5\n600000.25\n4100039.75\n", "turned": "8.1\n3.2\n-3.2\n8.1\n5.5\n7.25\n"}
PLACES = {"north": (0.5, 0, 600_000, 0, -0.5, 4_100_040), "turned": (8.1, -3.2, 3.05, 3.2, 8.1, 1.6)}


@pytest.mark.parametrize("how", LINES)
@pytest.mark.parametrize("image,world", [("scene.tif", "scene.tfw"), ("scene.jpg", "scene.jgw"), ("scene.png", "scene.wld")])
def test_a_world_file_is_followed_by_a_map(image, world, how, tmp_path):
    cv2.imwrite(str(tmp_path / image), np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8))
    (tmp_path / world).write_text(LINES[how])
    model = FastSCNN(3)
    for out in ("labels.tif", "labels.zarr"):
        model.overlap_tile_predict(tmp_path / image, tile_size=[64, 64], pad_size=[0, 0], transforms=Compose([Normalize()]), out=tmp_path / out)
    with rasterio.open(tmp_path / "labels.tif") as f: assert np.allclose(tuple(f.transform)[:6], PLACES[how], rtol=1e-12) and f.shape == (70, 90)
    assert np.allclose(georeference(tmp_path / image).transform, PLACES[how], rtol=1e-12)
    assert np.allclose(zarr.open(tmp_path / "labels.zarr", mode="r").attrs["spatial:transform"], PLACES[how], rtol=1e-12)
