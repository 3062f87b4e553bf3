"""pycaffe's solvers: names, order of calls, steps, tests, snapshots and errors; what Caffe's own tests check, too."""

import gc
import logging
import weakref
from pathlib import Path

import numpy as np
import pytest

import caffepy as caffe
from caffepy.errors import CaffeError, GraphError, MissingFileError, NotFiniteError, ProtoError, SolverError
from caffepy.kernels import observed
from caffepy.proto import prototxt
from caffepy.proto.caffe_pb2 import NetParameter, SolverParameter, SolverState
from tests.gpu_mode import REAL, running

NET = """
name: "small"
layer { name: "data" type: "DummyData" top: "data" top: "label"
        dummy_data_param { num: 5 channels: 2 height: 3 width: 4 num: 5 channels: 1 height: 1 width: 1
                           data_filler { type: "gaussian" std: 1 } data_filler { type: "constant" } } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
        convolution_param { num_output: 3 kernel_size: 2 weight_filler { type: "xavier" } }
        param { decay_mult: 1 } param { decay_mult: 0 } }
layer { name: "ip" type: "InnerProduct" bottom: "conv" top: "ip_blob"
        inner_product_param { num_output: 4 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip_blob" bottom: "label" top: "loss" }
"""
SOLVER = 'base_lr: 0.01 momentum: 0.9 weight_decay: 0.0005 lr_policy: "inv" gamma: 0.0001 power: 0.75 max_iter: 100 '
TYPES = {"SGD": "", "Nesterov": "", "AdaGrad": "momentum: 0", "RMSProp": "momentum: 0 rms_decay: 0.9", "AdaDelta": "",
         "Adam": ""}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net.prototxt").write_text(NET)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings(text: str = "", net: str = 'net: "net.prototxt" ') -> SolverParameter:
    param = prototxt.parse(net + SOLVER, SolverParameter)
    param.MergeFrom(prototxt.parse(text, SolverParameter))
    return param


def solver(text: str = "", net: str = 'net: "net.prototxt" ', **kwargs: bool) -> caffe.solver.Solver:
    caffe.set_random_seed(1)
    return caffe.get_solver(settings(text, net), **kwargs)


@pytest.mark.usefixtures("folder")
class TestPycaffe:
    @pytest.mark.parametrize("kind", TYPES)
    def test_every_type_has_its_class(self, kind: str) -> None:
        made = solver(f'type: "{kind}" {TYPES[kind]}')
        assert type(made) is getattr(caffe, f"{kind}Solver")
        made.step(2)
        assert made.iter == 2

    def test_a_class_trains_as_itself_whatever_the_type_says(self) -> None:
        assert caffe.SGDSolver(settings('type: "Adam"')).type == "SGD"

    def test_from_a_file_with_its_default_prefix(self, folder: Path) -> None:
        (folder / "my.solver.prototxt").write_text('net: "net.prototxt"\n' + SOLVER)
        made = caffe.get_solver(str(folder / "my.solver.prototxt"))
        assert made.param.snapshot_prefix == str(folder / "my.solver")
        assert [made.iter, made.max_iter] == [0, 100]
        (folder / "other.prototxt").write_text(f'net: "net.prototxt" snapshot_prefix: "{folder}"\n' + SOLVER)
        assert caffe.get_solver(folder / "other.prototxt").param.snapshot_prefix == str(folder / "other")

    def test_solve_ends_at_max_iter(self) -> None:
        made = solver("snapshot_after_train: false")
        assert made.iter == 0
        made.solve()
        assert made.iter == 100

    def test_settings_may_be_changed_on_the_way(self) -> None:
        made = solver('lr_policy: "fixed"')
        made.base_lr, made.max_iter = 0.5, 7
        assert made.lr == 0.5
        assert [made.param.base_lr, made.param.max_iter] == [0.5, 7]
        before = made.net.params["ip"][1].data.copy()
        made.base_lr = 0
        made.step(1)
        np.testing.assert_array_equal(made.net.params["ip"][1].data, before)

    def test_apply_update_uses_the_diffs_that_are_there(self) -> None:
        made = solver('lr_policy: "fixed" momentum: 0 weight_decay: 0')
        weights = made.net.params["ip"][0]
        before = weights.data.copy()
        made.net.clear_param_diffs()
        weights.diff[...] = 2
        made.apply_update()
        np.testing.assert_allclose(weights.data, before - 0.02, 1e-6)
        assert made.iter == 1

    def test_the_diff_holds_what_was_subtracted(self) -> None:
        made = solver()
        before = made.net.params["conv"][0].data.copy()
        made.step(1)
        blob = made.net.params["conv"][0]
        np.testing.assert_allclose(before - blob.diff, blob.data, 1e-6)
        assert blob.diff.any()

    def test_callbacks_see_cleared_diffs_then_gradients(self) -> None:
        made, seen = solver("iter_size: 2"), []
        made.add_callback(
            lambda: seen.append(("start", made.iter, bool(made.net.params["ip"][0].diff.any()))),
            lambda: seen.append(("ready", made.iter, bool(made.net.params["ip"][0].diff.any()))),
        )
        made.step(2)
        assert seen == [("start", 0, False), ("ready", 0, True), ("start", 1, False), ("ready", 1, True)]

    def test_gradients_may_be_changed_before_the_update(self) -> None:
        made = solver("momentum: 0 weight_decay: 0")
        before = {name: [blob.data.copy() for blob in blobs] for name, blobs in made.net.params.items()}

        def none() -> None:
            for blobs in made.net.params.values():
                for blob in blobs:
                    blob.diff[...] = 0

        made.add_callback(lambda: None, none)
        made.step(1)
        for name, blobs in made.net.params.items():
            for blob, old in zip(blobs, before[name], strict=True):
                np.testing.assert_array_equal(blob.data, old)

    def test_share_weights_and_test_nets(self) -> None:
        made = solver("test_iter: 1 test_iter: 1 test_interval: 10")
        assert len(made.test_nets) == 2
        other = caffe.Net("net.prototxt", caffe.TEST)
        made.share_weights(other)
        made.step(1)
        for net in (other, *made.test_nets):
            np.testing.assert_array_equal(net.params["conv"][0].data, made.net.params["conv"][0].data)

    def test_nets_outlive_their_solver(self) -> None:
        made = solver("test_iter: 1 test_interval: 10")
        nets = [made.net, *made.test_nets]
        del made
        assert all(np.isfinite(net.forward()["loss"]).all() for net in nets)

    def test_everything_goes_by_reference_count(self) -> None:
        made = solver("test_iter: 1 test_interval: 10 display: 1 debug_info: true iter_size: 2")
        made.step(2)
        gone = [weakref.ref(made), weakref.ref(made.net), weakref.ref(made.test_nets[0])]
        gc.collect()
        gc.disable()
        try:
            del made
            assert [reference() for reference in gone] == [None, None, None]
        finally:
            gc.enable()


@pytest.mark.usefixtures("folder")
class TestSnapshots:
    @pytest.mark.parametrize("form", ["BINARYPROTO", "HDF5"])
    @pytest.mark.parametrize("kind", ["SGD", "AdaDelta"])
    def test_restored_solvers_stand_where_they_stood(self, form: str, kind: str) -> None:
        made = solver(f'type: "{kind}" snapshot_prefix: "s" snapshot_format: {form}')
        made.step(3)
        state = made.snapshot()
        again = solver(f'type: "{kind}"')
        again.restore(state)
        assert again.iter == 3
        made.step(1)  # data are drawn anew, so that only what was restored is compared
        assert Path(state).name == "s_iter_3.solverstate" + ".h5" * (form == "HDF5")

    def test_fields_are_those_that_caffe_writes(self) -> None:
        made = solver('snapshot_prefix: "s" lr_policy: "step" stepsize: 2 gamma: 0.5')
        made.step(3)
        state = SolverState()
        state.ParseFromString(Path(made.snapshot()).read_bytes())
        assert [state.iter, state.learned_net, state.current_step] == [3, "s_iter_3.caffemodel", 1]
        assert [tuple(blob.shape.dim) for blob in state.history] == [
            blob.shape for blobs in made.net.params.values() for blob in blobs
        ]
        assert not any(blob.HasField("num") or blob.diff for blob in state.history)
        net = NetParameter()
        net.ParseFromString(Path("s_iter_3.caffemodel").read_bytes())
        assert {field.name for field, _ in net.ListFields()} == {"name", "layer"}
        assert [layer.phase for layer in net.layer] == [caffe.TRAIN] * 4

    def test_snapshot_diff(self) -> None:
        made = solver('snapshot_prefix: "s" snapshot_diff: true')
        made.step(1)
        made.snapshot()
        net = NetParameter()
        net.ParseFromString(Path("s_iter_1.caffemodel").read_bytes())
        np.testing.assert_array_equal(net.layer[1].blobs[0].diff, made.net.params["conv"][0].diff.ravel())

    def test_solve_writes_one_at_the_end_unless_it_has(self) -> None:
        solver('snapshot_prefix: "a" max_iter: 5 snapshot: 2').solve()
        assert [path.name for path in sorted(Path().glob("a*state"))] == [f"a_iter_{i}.solverstate" for i in (2, 4, 5)]
        solver('snapshot_prefix: "b" max_iter: 4 snapshot: 2').solve()
        solver('snapshot_prefix: "c" max_iter: 4 snapshot_after_train: false').solve()
        assert [path.name for path in sorted(Path().glob("[bc]*"))] == [
            f"b_iter_{i}.{kind}" for i in (2, 4) for kind in ("caffemodel", "solverstate")
        ]

    def test_solve_goes_on_from_a_state(self) -> None:
        solver('snapshot_prefix: "a" max_iter: 3').solve()
        made = solver('snapshot_prefix: "a" max_iter: 5 snapshot_after_train: false')
        made.solve("a_iter_3.solverstate")
        assert made.iter == 5

    def test_weights_that_moved_with_their_state_are_found(self, folder: Path) -> None:
        made = solver('snapshot_prefix: "a"')
        made.step(1)
        made.snapshot()
        (folder / "elsewhere").mkdir()
        for name in ("a_iter_1.caffemodel", "a_iter_1.solverstate"):
            (folder / name).rename(folder / "elsewhere" / name)
        again = solver()
        again.restore("elsewhere/a_iter_1.solverstate")
        np.testing.assert_array_equal(again.net.params["ip"][0].data, made.net.params["ip"][0].data)

    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            ({"history": 1}, SolverError, "holds 3 history blobs, this solver has 4"),
            ({"history": 0}, SolverError, "history blob 0 has shape .*, the solver's has"),
            ({"learned_net": "gone.caffemodel"}, MissingFileError, "gone.caffemodel"),
            ({"bytes": b"\x08\x03\x1a\xff"}, ProtoError, "not a whole solverstate"),
            ({"bytes": b""}, ProtoError, "the file is empty"),
            ({"bytes": b"net: 1\n"}, ProtoError, "expected a solverstate"),
        ],
    )
    def test_what_does_not_fit_changes_nothing(
        self, change: dict[str, object], error: type[Exception], message: str
    ) -> None:
        made = solver('snapshot_prefix: "a"')
        made.step(1)
        path = Path(made.snapshot())
        state = SolverState()
        state.ParseFromString(path.read_bytes())
        state.iter = 77
        if change.get("history") == 1:
            del state.history[-1]
        elif change.get("history") == 0:
            state.history[0].CopyFrom(state.history[1])
        state.learned_net = change.get("learned_net", state.learned_net)
        path.write_bytes(change.get("bytes", state.SerializeToString()))
        before = made.net.params["ip"][0].data.copy()
        with pytest.raises(error, match=message):
            made.restore(path)
        assert made.iter == 1
        np.testing.assert_array_equal(made.net.params["ip"][0].data, before)

    def test_a_full_disk_stops_no_training(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        made = solver('snapshot_prefix: "a" snapshot: 1')
        save, fails = made.net.save, [True, True, False]

        def full(*args: object, **kwargs: object) -> None:
            if fails.pop(0):
                raise ProtoError("a_iter_1.caffemodel: cannot be written: [Errno 28] No space left on device")
            save(*args, **kwargs)

        monkeypatch.setattr(made.net, "save", full)
        with caplog.at_level(logging.ERROR, "caffepy"):
            made.step(3)
        assert [f"no snapshot at iteration {i}" in text for i, text in zip((1, 2), caplog.messages, strict=True)]
        assert "No space left" in caplog.text
        assert sorted(path.name for path in Path().glob("a_*")) == ["a_iter_3.caffemodel", "a_iter_3.solverstate"]

    def test_no_weights_are_left_without_their_state(self, folder: Path) -> None:
        (folder / "a_iter_1.solverstate").mkdir()
        made = solver('snapshot_prefix: "a"')
        made.step(1)
        (folder / "a_iter_1.solverstate" / "x").touch()
        with pytest.raises(CaffeError):
            made.snapshot()

    def test_shared_weights_stand_in_hdf5_under_their_owner(self) -> None:
        text = NET.replace('name: "ip" ', 'name: "ip" param { name: "w" } ').replace(
            'layer { name: "loss"',
            'layer { name: "ip2" type: "InnerProduct" bottom: "conv" top: "ip2" param { name: "w" }'
            ' inner_product_param { num_output: 4 } } layer { name: "hush" type: "Silence" bottom: "ip2" }'
            ' layer { name: "loss"',
        )
        made = solver('snapshot_prefix: "a" snapshot_format: HDF5', f"train_net_param {{ {text} }}")
        made.step(1)
        again = solver(net=f"train_net_param {{ {text} }}")
        again.restore(made.snapshot())
        import h5py

        with h5py.File("a_iter_1.caffemodel.h5") as file:
            assert list(file["data/ip"]) == ["0", "1"]
            assert list(file["data/ip2"]) == ["1"]


@pytest.mark.usefixtures("folder")
class TestWeights:
    def test_several_files_by_layer_name(self, folder: Path) -> None:
        one, two = solver('snapshot_prefix: "one"'), solver('snapshot_prefix: "two"')
        for made, value in ((one, 1), (two, 2)):
            for blobs in made.net.params.values():
                for blob in blobs:
                    blob.data[...] = value
            made.snapshot()
        text = (folder / "net.prototxt").read_text().replace('name: "ip"', 'name: "fresh"')
        net = f"net_param {{ {text} }}"
        made = solver('weights: "one_iter_0.caffemodel, two_iter_0.caffemodel"', net)
        assert (made.net.params["conv"][0].data == 2).all()
        assert not (made.net.params["fresh"][0].data == 2).any()
        made = solver(
            'weights: "two_iter_0.caffemodel" weights: "one_iter_0.caffemodel" test_iter: 1 test_interval: 1', net
        )
        assert (made.net.params["conv"][0].data == 1).all()
        assert (made.test_nets[0].params["conv"][0].data == 1).all()

    def test_layers_that_stay_cost_no_backward(self) -> None:
        """lr_mult 0: neither weight gradients, nor a backward pass of what lies below, nor an update."""

        def launched(frozen: bool) -> list[str]:
            text = NET.replace("param { decay_mult: 1 }", "param { lr_mult: 0 }").replace(
                "param { decay_mult: 0 }", "param { lr_mult: 0 }"
            )
            made = solver(net=f"train_net_param {{ {text if frozen else NET} }}")
            made.step(1)
            names: list[str] = []

            def note(kernel: object, args: object, constants: object) -> bool:
                names.append(kernel.name)
                if kernel.name == "sgd_update":
                    names.extend(["updated"] * len(args[0]))
                return True

            with observed(note):
                made.step(1)
            return names

        trained, frozen = launched(False), launched(True)
        assert any("convolution_backward" in name for name in trained)
        assert not any("convolution_backward" in name for name in frozen)
        assert [trained.count("updated"), frozen.count("updated")] == [4, 2]

    @pytest.mark.parametrize("kind", ["SGD", "Adam"])
    def test_what_is_left_out_would_not_have_changed(self, kind: str) -> None:
        """A frozen layer's history, under a rule that decays into it, is Caffe's; under the others it stays zero."""
        text = NET.replace("param { decay_mult: 1 }", "param { lr_mult: 0 }")
        made = solver(f'type: "{kind}" weight_decay: 0.5 snapshot_prefix: "a"', f"train_net_param {{ {text} }}")
        before = made.net.params["conv"][0].data.copy()
        made.step(2)
        np.testing.assert_array_equal(made.net.params["conv"][0].data, before)
        state = SolverState()
        state.ParseFromString(Path(made.snapshot()).read_bytes())
        made.step(1)
        assert len(made._update._active) == (4 if kind == "Adam" else 3)
        history = np.array(state.history[0].data)
        expected = (0.1 + 0.9 * 0.1) * 0.5 * before.ravel() if kind == "Adam" else np.zeros(before.size)
        np.testing.assert_allclose(history, expected, 1e-5)


@pytest.mark.usefixtures("folder")
class TestErrors:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('type: "Lion"', "there is no solver 'Lion'; .*there are SGD, Nesterov"),
            ('type: "AdaGrad"', "momentum: 0.9 cannot be used with AdaGrad"),
            ('type: "RMSProp"', "momentum: 0.9 cannot be used with RMSProp"),
            ('type: "RMSProp" momentum: 0 rms_decay: 1', "rms_decay: 1; give at least 0 and less than 1"),
            ("average_loss: 0", "average_loss: 0"),
            ("iter_size: -1", "iter_size: -1"),
            ('train_net: "net.prototxt"', "found net and train_net"),
            ("test_iter: 1", "there are test nets, and test_interval is 0"),
            ('test_net: "net.prototxt" test_interval: 1', "0 test_iter for 1 test net"),
            ("test_iter: 1 test_iter: 1 test_state { } test_interval: 1", r"1 test_state for 2 test net\(s\)"),
            ("snapshot: 1", "snapshot is given and snapshot_prefix is not"),
            ('snapshot: 1 snapshot_prefix: "nowhere/x"', "snapshot_prefix: 'nowhere/x': cannot write there"),
        ],
    )
    def test_settings(self, text: str, message: str) -> None:
        with pytest.raises(SolverError, match=message):
            solver(text)

    def test_no_net(self) -> None:
        with pytest.raises(SolverError, match="found none of them"):
            solver(net="")
        with pytest.raises(MissingFileError, match=r"nosuch\.prototxt"):
            solver(net='net: "nosuch.prototxt" ')

    def test_decay_of_an_unknown_kind_only_where_there_is_decay(self) -> None:
        with pytest.raises(SolverError, match="regularization_type: 'L3' is unknown; give L1 or L2"):
            solver('regularization_type: "L3"').step(1)
        solver('regularization_type: "L3" weight_decay: 0').step(1)

    def test_shared_multipliers_must_agree(self) -> None:
        def shared(*specs: str) -> str:
            layers = "".join(
                f'layer {{ name: "p{i}" type: "InnerProduct" bottom: "data" top: "p{i}" param {{ name: "w" {spec} }}'
                f" inner_product_param {{ num_output: 4 bias_term: false }} }} "
                f'layer {{ name: "s{i}" type: "Silence" bottom: "p{i}" }}'
                for i, spec in enumerate(specs)
            )
            return f"train_net_param {{ {NET} {layers} }}"

        made = solver(net=shared("", "lr_mult: 2"))
        assert [w.lr_mult for w in made._update.weights if w.layer == "p0"] == [2]
        for specs in (
            ("lr_mult: 1", "lr_mult: 2"),
            ("", "lr_mult: 1", "lr_mult: 2"),
            ("decay_mult: 0", "decay_mult: 1"),
        ):
            with pytest.raises(GraphError, match="make them equal"):
                solver(net=shared(*specs))

    @pytest.mark.parametrize("text", ["base_lr: 1e30", "iter_size: 0"])
    def test_a_loss_that_is_no_number_stops_unless_it_may_be(self, text: str) -> None:
        made = solver(f'{text} lr_policy: "fixed"')
        with pytest.raises((NotFiniteError, SolverError)) as raised:
            made.step(12)
        expected = "layer 'ip' (InnerProduct): 20 of 20 values of 'ip_blob'"
        assert ("iter_size: 0" if "iter_size" in text else expected) in str(raised.value)
        made = solver(f'{text} lr_policy: "fixed"', allow_nan=True)
        made.step(12)
        assert made.iter == 12
        assert np.isnan(made.net.params["ip"][0].data).all()


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("kind", TYPES)
def test_gpu_mode_takes_one_launch_for_all_blobs(kind: str) -> None:
    names: list[str] = []

    def note(kernel: object, args: object, constants: object) -> bool:
        names.extend(launch.entry for launch in kernel.launches(*args, **constants))
        return True

    with running("gpu-ascending"):
        made = solver(f'type: "{kind}" clip_gradients: 0.1 {TYPES[kind]}')
        made.net.clear_param_diffs()
        with observed(note):
            made.apply_update()
    assert names == ["sum_squares", "clip_factor", f"{kind.lower()}_update"]


def test_what_caffes_own_tests_check(folder: Path) -> None:
    """BVLC's test_solver.py: steps, an update by hand, nets that outlive their solver, a snapshot at the start."""
    (folder / "own.prototxt").write_text(
        'net: "net.prototxt" test_iter: 10 test_interval: 10 base_lr: 0.01 momentum: 0.9 weight_decay: 0.0005'
        ' lr_policy: "inv" gamma: 0.0001 power: 0.75 display: 100 max_iter: 100 snapshot_after_train: false'
        ' snapshot_prefix: "model"'
    )
    made = caffe.SGDSolver("own.prototxt")
    caffe.get_solver("own.prototxt")
    for net in (made.net, made.test_nets[0]):
        net.blobs["label"].data[...] = np.random.default_rng(0).integers(4, size=net.blobs["label"].data.shape)
    made.snapshot()
    assert {path.name for path in folder.glob("model*")} == {"model_iter_0.caffemodel", "model_iter_0.solverstate"}
    data = made.net.layers[1].blobs[0].data[...]
    data[...] = 0
    made.net.layers[1].blobs[0].diff[...] = 1
    made.apply_update()
    np.testing.assert_allclose(data, -0.01, 1e-5)
    assert made.iter == 1
    made.solve()
    assert made.iter == 100


@pytest.mark.parametrize("mode", ["cpu", "gpu-random", REAL])
def test_a_net_without_weights_trains_nothing(mode: str) -> None:
    layers = (
        NET[: NET.index('layer { name: "conv"')] + 'layer { name: "s" type: "Silence" bottom: "data" bottom: "label" }'
    )
    with running(mode):
        made = solver("clip_gradients: 1", f"train_net_param {{ {layers} }}")
        made.step(2)
    assert made.iter == 2
