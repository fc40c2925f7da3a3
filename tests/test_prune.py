"""Pruning: PaddleX's recorded shares and shapes, every network whole after a cut, and a model that trains, saves, reloads and predicts."""

import json
import pickle
import threading
import warnings
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch

import segnb
from segnb.data.datasets import SegDataset
from segnb.data.scenes import write_scenes
from segnb.data.transforms import Compose, Normalize
from segnb.infer.evaluation import last_value
from segnb.models import DeepLabv3p, FastSCNN, HRNet, UNet, load_model
from segnb.nets.channels import chosen, cut, find_channels, prune_net, ratios_of, silenced
from segnb.paddlex import load_paddlex
from segnb.pruning import joint_sensitivities, lost_together, savings, sensitivities
from segnb.weights.names import paddlex_name
from segnb.weights.tables import pruning_table, read_sensitivities

MODELS = {"FastSCNN": lambda: FastSCNN(4, multi_loss_weight=[1.0, 0.4, 0.4]),
          "UNet": lambda: UNet(4), "UNet deconv": lambda: UNet(4, upsample_mode="deconv"),
          "HRNet": lambda: HRNet(4, "18_small_v1"), "MobileNetV2": lambda: DeepLabv3p(4, "MobileNetV2_x0.25"),
          "MobileNetV3": lambda: DeepLabv3p(4, "MobileNetV3_large_x1_0_ssld", pooling_crop_size=[64, 64]),
          "Xception41": lambda: DeepLabv3p(4, "Xception41"), "no decoder": lambda: DeepLabv3p(4, "MobileNetV2_x0.5", enable_decoder=False)}


@pytest.fixture(scope="module")
def recorded(shared):
    folder = shared / "reference/pruned_model"
    return folder, json.loads((folder / "expected/prune_expected.json").read_text())


def test_paddlexs_tables_and_shares(shared, recorded):
    folder, expected = recorded
    names = load_paddlex(shared / "reference/trained_model").net.state_dict()
    table = read_sensitivities(folder / "full.sensi.data", names)
    assert {paddlex_name(n): [[s, v] for s, v in curve.items()] for n, curve in table.items()} == expected["sensitivities_full"]
    for most, ratios in expected["ratios_for_eval_metric_loss_from_full"].items():
        found = {paddlex_name(n): r for n, r in ratios_of(table, float(most)).items()}
        assert found.keys() == ratios.keys() and all(abs(found[n] - r) < 1e-9 for n, r in ratios.items()), most


def test_paddlexs_pruned_shapes(shared, recorded):
    folder, expected = recorded
    model = load_paddlex(shared / "reference/trained_model")
    prune_net(model.net, ratios_of(read_sensitivities(folder / "model.sensi.data", model.net.state_dict()), expected["eval_metric_loss_used"]))
    shapes = {n: tuple(t.shape) for n, t in model.net.state_dict().items()}
    assert shapes == {n: tuple(t.shape) for n, t in load_paddlex(folder).net.state_dict().items()}


def test_what_paddlex_can_prune_we_can(shared, recorded):
    channels = find_channels(load_paddlex(shared / "reference/trained_model").net)
    ours = {paddlex_name(n) for n in channels.places if n.endswith("weight") and channels.made_by(n).size}
    assert set(recorded[1]["prunable_parameters"]) <= ours


@pytest.mark.parametrize("name", MODELS)
def test_silent_and_cut_are_the_same(name):
    "Every group of every network, at once: one place forgotten, and the layers would not fit or the answer would differ"
    torch.manual_seed(0)
    net = MODELS[name]().net.eval()
    for m in net.modules():
        if isinstance(m, torch.nn.BatchNorm2d): m.running_mean.normal_(0, 0.1), m.bias.data.normal_(0, 0.1)
    channels, x = find_channels(net), torch.randn(1, 3, 64, 64)
    assert len(channels.groups()) > 5
    gone, used = chosen(net, channels, dict.fromkeys(channels.groups(), 0.5))
    with torch.no_grad(), silenced(net, channels, gone): quiet = [y.clone() for y in net(x)]
    size = sum(p.numel() for p in net.parameters())
    cut(net, channels, gone)
    assert sum(p.numel() for p in net.parameters()) < 0.35 * size
    with torch.no_grad():
        for a, b in zip(net(x), quiet, strict=True): assert (a - b).abs().max() <= 1e-4 * b.abs().max()


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = write_scenes(tmp_path_factory.mktemp("scenes"), train=4, val=2, size=(64, 64))
    return [SegDataset(folder, folder / f"{n}_list.txt", folder / "labels.txt", Compose([Normalize()]), 0) for n in ("train", "val")]


def table_of(model, path, loss=0.01, share=0.5):
    "A table that says that half of every group costs little"
    path.write_text(json.dumps({"sensitivities": {n: {str(share): loss} for n in find_channels(model.net).groups()}}))
    return path


@pytest.mark.parametrize("make", [lambda: FastSCNN(5), lambda: DeepLabv3p(5, "MobileNetV2_x0.25")], ids=["FastSCNN", "DeepLabv3p"])
def test_a_pruned_model_does_all_that_a_whole_one_does(sets, tmp_path, make):
    train, val = sets
    model, said = make(), []
    model.train(1, train, 2, val, save_dir=tmp_path / "out", pretrain_weights=None, sensitivities_file=table_of(model, tmp_path / "table.json"),
                observers=[lambda e: said.append(getattr(e, "message", ""))])
    assert model.pruned and any(m.startswith("pruned ") and "multiply-adds" in m and "parameters" in m for m in said)
    again = load_model(tmp_path / "out" / "best_model")
    assert again.pruned and sum(p.numel() for p in again.net.parameters()) < 0.5 * sum(p.numel() for p in make().net.parameters())
    with warnings.catch_warnings():
        warnings.simplefilter("error")   # A faster copy that does not fit a pruned network would be told
        a, b = (m.predict(val.file_list[0][0])["score_map"] for m in (model, again))
    assert np.array_equal(a, b)
    assert again.evaluate(val)["miou"] == model.evaluate(val)["miou"]
    again.train(1, train, 2, val, save_dir=tmp_path / "more", pretrain_weights=None)
    assert np.isfinite(again.history.losses).all()


def test_a_damaged_pruned_model_names_the_layer(sets, tmp_path):
    model = FastSCNN(5)
    prune_net(model.net, dict.fromkeys(find_channels(model.net).groups()[:4], 0.5))
    model.pruned = True
    model.save_model(tmp_path / "thin")
    assert load_model(tmp_path / "thin").pruned
    data = bytearray((tmp_path / "thin" / "weights.safetensors").read_bytes())
    data[-5] ^= 1
    (tmp_path / "thin" / "weights.safetensors").write_bytes(data)
    with pytest.raises(ValueError, match="weights.safetensors"): load_model(tmp_path / "thin")


class Runs:
    def __reduce__(self): return print, ("run",)


def test_bad_tables_change_nothing(sets, tmp_path, capsys):
    "C33: pickles that run, other networks, shares that leave nothing; the model stays whole and nothing is written"
    model = FastSCNN(5)
    before = {n: t.clone() for n, t in model.net.state_dict().items()}
    (tmp_path / "runs.data").write_bytes(pickle.dumps({"x": {0.1: Runs()}}))
    (tmp_path / "other.data").write_bytes(pickle.dumps({"conv9_9_weights": {np.float64(0.1): np.float64(0)}}))
    (tmp_path / "empty.data").write_bytes(pickle.dumps({}))
    (tmp_path / "whole.json").write_text('{"sensitivities": {"x": {"1.0": 0}}}')
    for name, error, words in [("runs.data", ValueError, "only arrays are allowed"),
                               ("other.data", ValueError, "another network: .* conv9_9_weights"),
                               ("empty.data", ValueError, "at least one weight"), ("whole.json", ValueError, "shares between 0 and 1"),
                               ("nothing.json", FileNotFoundError, "no sensitivities file")]:
        with pytest.raises(error, match=words):
            model.train(1, sets[0], 2, save_dir=tmp_path / "out", pretrain_weights=None, sensitivities_file=tmp_path / name)
    with pytest.raises(ValueError, match="must be a function from weights to an optimizer"):
        model.train(1, sets[0], 2, save_dir=tmp_path / "out", pretrain_weights=None, sensitivities_file=table_of(model, tmp_path / "good.json"),
                    optimizer=torch.optim.SGD(model.net.parameters(), 0.1))
    assert all(torch.equal(before[n], t) for n, t in model.net.state_dict().items()) and not model.pruned
    assert not (tmp_path / "out").exists() and "run" not in capsys.readouterr().out


def test_no_layer_is_left_empty():
    for ratio in (0.9, 0.99, 0.999):
        net = FastSCNN(5).net
        prune_net(net, dict.fromkeys(find_channels(net).groups(), ratio))
        assert min(t.shape[0] for t in net.state_dict().values() if t.dim()) >= 1


def test_measuring_goes_on_where_it_stopped(sets, tmp_path, monkeypatch):
    "Interrupted in the middle, the model has its weights back and the file what was found; the second run measures the rest only"
    train, val = sets
    model = FastSCNN(5)
    model.train(2, train, 2, save_dir=tmp_path / "out", pretrain_weights=None, learning_rate=0.05)
    before = {n: t.clone() for n, t in model.net.state_dict().items()}
    groups = segnb.nets.channels.Channels.groups
    monkeypatch.setattr("segnb.nets.channels.Channels.groups", lambda self: groups(self)[:7])  # For the sake of time
    whole = sensitivities(model, val, tmp_path / "whole.json", ratios=(0.4,))
    calls, judge = [], segnb.pruning.evaluation

    def interrupted(*args):
        calls.append(args)
        if len(calls) == 6: raise KeyboardInterrupt
        return judge(*args)
    monkeypatch.setattr("segnb.pruning.evaluation", interrupted)
    with pytest.raises(KeyboardInterrupt): sensitivities(model, val, tmp_path / "table.json", ratios=(0.4,))
    assert all(torch.equal(before[n], t) for n, t in model.net.state_dict().items())
    assert len(json.loads((tmp_path / "table.json").read_text())["sensitivities"]) == 4
    assert sensitivities(model, val, tmp_path / "table.json", ratios=(0.4,)) == whole
    assert len(calls) == 6 + 1 + len(whole) - 4


def test_savings_grow_with_the_loss_that_is_borne(tmp_path):
    model = FastSCNN(5)
    groups = find_channels(model.net).groups()
    curves = {n: {str(s): s * (1 + i % 3) / 3 for s in (0.2, 0.5, 0.8)} for i, n in enumerate(groups)}
    (tmp_path / "t.json").write_text(json.dumps({"sensitivities": curves}))
    rows = savings(model, tmp_path / "t.json", (0.0, 0.2, 0.9))
    parameters, macs = [r[1] for r in rows], [r[2] for r in rows]
    assert parameters[0] == macs[0] == 1 and sorted(parameters, reverse=True) == parameters and sorted(macs, reverse=True) == macs and macs[-1] < 0.3


class Shelf(BaseHTTPRequestHandler):
    "Serves what lies on the server's shelf, as PaddleX's server would"

    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path not in self.server.shelf: return self.send_error(404)
        body, promised = self.server.shelf[self.path]
        self.send_response(200)
        if promised: self.send_header("Content-Length", str(promised))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_): pass


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    "A server on this machine in the place of PaddleX's; path to content and its promised length"
    server = ThreadingHTTPServer(("127.0.0.1", 0), Shelf)
    server.shelf, server.asked, server.daemon_threads = {}, [], True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr("segnb.weights.tables.home", f"http://127.0.0.1:{server.server_port}/")
    monkeypatch.setenv("SEGNB_WEIGHTS", str(tmp_path / "cache"))
    yield server
    server.shutdown()
    server.server_close()


def paddlexs_table(model, loss=0.01):
    "As PaddleX pickles it: its names, NumPy's numbers, protocol 3"
    names = [paddlex_name(n) for n in find_channels(model.net).groups()]
    return pickle.dumps({n: {np.float64(0.5): np.float64(loss)} for n in names}, 3)


@pytest.mark.parametrize("make,file", [(lambda: FastSCNN(5), "fast_scnn"), (lambda: UNet(5), "unet"), (lambda: HRNet(5, 18), "hrnet_w18"),
                                       (lambda: DeepLabv3p(5, "MobileNetV2_x0.25"), "deeplab_mobilenetv2_x0.25_with_aspp_decoder"),
                                       (lambda: DeepLabv3p(5, "Xception41"), "deeplab_xception41_with_aspp_decoder")],
                         ids=["FastSCNN", "UNet", "HRNet", "MobileNetV2", "Xception"])
def test_published_tables_are_found_and_fetched_once(shelf, make, file):
    model = make()
    shelf.shelf[f"/{file}.sensitivities"] = paddlexs_table(model), None
    for _ in range(2): assert last_value(pruning_table(model, "DEFAULT")).keys() == set(find_channels(model.net).groups())
    assert shelf.asked == [f"/{file}.sensitivities"]


def test_a_training_prunes_by_the_published_table(shelf, sets, tmp_path):
    train, val = sets
    model, said = FastSCNN(5), []
    shelf.shelf["/fast_scnn.sensitivities"] = paddlexs_table(model), None
    model.train(1, train, 2, val, save_dir=tmp_path / "out", pretrain_weights=None, sensitivities_file="DEFAULT",
                observers=[lambda e: said.append(getattr(e, "message", ""))])
    assert model.pruned and any(m.startswith("pruned ") for m in said)
    model = FastSCNN(5)
    assert savings(model, "DEFAULT", (0.05,))[0][1] < 0.5
    model.train(2, train, 2, val, save_dir=tmp_path / "out", pretrain_weights=None, sensitivities_file="DEFAULT", resume_checkpoint=tmp_path / "out")
    assert model.completed_epochs == 2 and len(shelf.asked) == 1


@pytest.mark.parametrize("case", ["truncated", "broken line", "hostile", "another network", "page of a proxy", "not finite", "gone"])
def test_bad_published_tables_change_nothing(shelf, sets, tmp_path, case, capsys):
    "What arrives is thrown away with a reason, so that the next attempt fetches again; the model stays whole"
    model, (train, _) = FastSCNN(5), sets
    good, before = paddlexs_table(model), {n: t.clone() for n, t in model.net.state_dict().items()}
    body, promised, error, words = {
        "truncated": (good[:-40], None, ValueError, "cannot be read as sensitivities"),
        "broken line": (good[:-40], len(good), ConnectionError, "the line broke|bytes read"),
        "hostile": (pickle.dumps({"x": {0.1: Runs()}}), None, ValueError, "only arrays are allowed"),
        "another network": (paddlexs_table(UNet(5)), None, ValueError, "measured on another network"),
        "page of a proxy": (b"<html>sign in</html>", None, ValueError, "cannot be read as sensitivities"),
        "not finite": (paddlexs_table(model, float("nan")), None, ValueError, "losses by shares between 0 and 1"),
        "gone": (None, None, ConnectionError, "Not Found")}[case]
    if body is not None: shelf.shelf["/fast_scnn.sensitivities"] = body, promised
    learn = lambda: model.train(1, train, 2, save_dir=tmp_path / "out", pretrain_weights=None, sensitivities_file="DEFAULT")
    with pytest.raises(error, match=words) as told: learn()
    for word in ("fast_scnn.sensitivities", "sensitivities(model, eval_dataset, 'sensitivities.json')"): assert word in str(told.value)
    assert all(torch.equal(before[n], t) for n, t in model.net.state_dict().items()) and not model.pruned
    assert not (tmp_path / "out").exists() and not (tmp_path / "cache/fast_scnn.sensitivities").exists() and "run" not in capsys.readouterr().out
    shelf.shelf["/fast_scnn.sensitivities"] = good, len(good)
    learn()
    assert model.pruned


def test_a_table_without_a_line(sets, tmp_path, monkeypatch):
    "The error names address, file, folder and the way out; a file put there by hand is taken, and never thrown away"
    monkeypatch.setenv("SEGNB_WEIGHTS", str(tmp_path / "cache"))
    monkeypatch.setattr("segnb.weights.tables.home", "https://127.0.0.1:9/slim_prune/")
    model = UNet(5)
    with pytest.raises(ConnectionError) as told: last_value(pruning_table(model, "DEFAULT"))
    for word in ("https://127.0.0.1:9/slim_prune/unet.sensitivities", "as unet.sensitivities", str(tmp_path / "cache"), "measure your own"):
        assert word in str(told.value), str(told.value)
    assert "pretrain" not in str(told.value)
    (tmp_path / "cache" / "unet.sensitivities").write_bytes(b"by hand")
    with pytest.raises(ValueError, match="lay there before; remove it"): last_value(pruning_table(model, "DEFAULT"))
    (tmp_path / "cache" / "unet.sensitivities").write_bytes(paddlexs_table(model))
    assert last_value(pruning_table(model, "DEFAULT"))


@pytest.mark.parametrize("make", [lambda: HRNet(5, "18_small_v1"), lambda: HRNet(5, 60), lambda: DeepLabv3p(5, "MobileNetV3_large_x1_0_ssld")],
                         ids=["small", "60", "MobileNetV3"])
def test_networks_without_a_published_table(make):
    with pytest.raises(ValueError, match="`sensitivities_file` must be a path for .*, got 'DEFAULT'.*measure your own"):
        last_value(pruning_table(make(), "DEFAULT"))


def test_cuts_that_are_chosen_together_cost_together_what_they_may(sets, tmp_path):
    "Really cut, the model loses what the table says, and no more than was allowed; `train` cuts just that"
    train = val = sets[0]   # Seen before, so that there is something to lose
    torch.manual_seed(0)
    model = FastSCNN(5)
    for m in model.net.modules():
        if hasattr(m, "momentum"): m.momentum = 0.1   # A few steps must do
    model.train(40, train, 2, save_dir=tmp_path / "out", pretrain_weights=None, learning_rate=0.05, save_interval_epochs=40)
    before = {n: t.clone() for n, t in model.net.state_dict().items()}
    rule = table_of(model, tmp_path / "rule.json")
    found = joint_sensitivities(model, rule, val, tmp_path / "joint.json", loss=0.2)
    assert all(torch.equal(before[n], t) for n, t in model.net.state_dict().items())
    last = max(loss for curve in list(found.values())[-1:] for loss in curve.values())
    base, most = model.evaluate(val)["miou"], lost_together(model, tmp_path / "joint.json", val, (0.2,))[0]
    assert abs(most - last) < 1e-9 and most <= 0.2 < lost_together(model, rule, val, (0.05,))[0] and base > 0.4
    names = []
    cut_one = load_model(tmp_path / "out" / "epoch_40")
    for e in cut_one.training(1, train, 2, save_dir=tmp_path / "thin", pretrain_weights=None, sensitivities_file=tmp_path / "joint.json",
                              eval_metric_loss=0.2):
        names.append(getattr(e, "message", ""))
    assert f"pruned {len(found)} groups" in " ".join(names)
    prune_net(model.net, ratios_of(found, 0.2))
    assert abs((base - model.evaluate(val)["miou"]) / base - last) < 1e-3
