"""What a GPU would do otherwise than a CPU, as far as a CPU can show it."""

import copy

import lightning as L
import torch
from lightning.pytorch.plugins.precision import MixedPrecision
from torch import nn
from torch.optim.swa_utils import AveragedModel

from agar_pipeline.config import OptimizerConfig, TrainerConfig
from agar_pipeline.detection.models.detector import Detector, build_detector
from agar_pipeline.detection.models.weight_averaging import WeightAverage
from agar_pipeline.detection.training.lightning_module import DetectorModule
from agar_pipeline.detection.training.resume import load_optimizer, random_state
from agar_pipeline.detection.training.schedule import Progress
from tests.detection.models.test_detector import spec_of

CLIP_NORM = 10.0
Tensors = tuple[torch.Tensor, ...] | list[torch.Tensor]


def test_a_fused_optimizer_clips_gradients_at_their_own_scale() -> None:
    """Scaled by 65,536 all of them would be clipped to next to nothing."""
    detector = build_detector(spec_of("tiny"))
    module = DetectorModule(detector, OptimizerConfig(), Progress(TrainerConfig(max_steps=1), 1), {})
    scaler = torch.amp.GradScaler("cpu")
    plugin = MixedPrecision("16-mixed", "cpu", scaler=scaler)
    module.trainer = L.Trainer(accelerator="cpu", plugins=[plugin], logger=False, enable_checkpointing=False)
    optimizer = module.configure_optimizers()
    assert optimizer.param_groups[0]["fused"]
    loss = sum((p.sum() for p in detector.parameters()), torch.zeros(()))
    scaler.scale(loss).backward()
    module.configure_gradient_clipping(optimizer, CLIP_NORM)
    scaler.step(optimizer)
    moments = torch.cat([state["exp_avg"].flatten() for state in optimizer.state.values()])
    assert torch.isclose(moments.norm(), torch.tensor(0.1 * CLIP_NORM), rtol=1e-3)


def test_the_count_of_steps_lies_where_this_device_wants_it() -> None:
    """A fused AdamW on a CPU counts beside its weights; the same gone on with on CUDA, not fused, counts on the CPU."""
    weight = nn.Parameter(torch.zeros(3))
    before = torch.optim.AdamW([weight], fused=True)
    weight.grad = torch.ones(3)
    before.step()
    elsewhere = nn.Parameter(torch.zeros(3, device="meta"))
    after = torch.optim.AdamW([elsewhere], lr=0.5)
    state = copy.deepcopy(before.state_dict())
    load_optimizer(after, state)
    assert after.state[elsewhere]["step"].device.type == "cpu", "else each step waits for the device"
    assert after.state[elsewhere]["exp_avg"].device.type == "meta"
    assert after.param_groups[0]["fused"] is None
    load_optimizer(before, {**state, "param_groups": [{**state["param_groups"][0], "fused": None}]})
    assert before.param_groups[0]["fused"]


def test_the_average_of_weights_is_torchs_and_counts_without_the_device() -> None:
    torch.manual_seed(0)
    detector = build_detector(spec_of("tiny"))
    ours, decay = WeightAverage(detector, 0.5), 0.5

    def average(means: Tensors, values: Tensors, count: torch.Tensor | int) -> None:
        kept = min(decay, (1 + int(count)) / (10 + int(count)))
        for mean, value in zip(means, values, strict=True):
            mean.lerp_(value, 1 - kept) if mean.is_floating_point() else mean.copy_(value)

    theirs = AveragedModel(detector, multi_avg_fn=average, use_buffers=True)
    for step in range(8):
        with torch.no_grad():
            for tensor in [*detector.parameters(), *detector.buffers()]:
                tensor.copy_(torch.rand_like(tensor) if tensor.is_floating_point() else tensor + 1)
        if step == 4:
            state = ours.state()
            ours = WeightAverage(detector, decay)
            ours.restore(state)
        ours.update(detector)
        theirs.update_parameters(detector)
    assert_equal(ours.detector, theirs.module)


def assert_equal(one: Detector, other: nn.Module) -> None:
    state = other.state_dict()
    assert one.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in one.state_dict().items())


def test_what_normalizes_photos_moves_with_the_model_and_is_not_saved() -> None:
    detector = build_detector(spec_of("tiny"))
    assert not [name for name in detector.state_dict() if "transform" in name]
    assert detector.to("meta").model.transform.factor.device.type == "meta"


def test_a_point_of_a_training_on_the_cpu_starts_no_gpu() -> None:
    assert random_state()["cuda"] is None
    assert not torch.cuda.is_initialized()
