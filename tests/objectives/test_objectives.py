"""What every objective must hold, whatever it is."""

import math
import subprocess
import sys

import pytest
import torch
from small import ENCODER, HOP, batch, encoder, tones, train

from ssl_tt.data.windows import Batch
from ssl_tt.encoder.config import DilationSchedule, EncoderConfig, PrelayerConfig, StackConfig
from ssl_tt.encoder.encoder import Encoder
from ssl_tt.errors import InputError
from ssl_tt.objectives import OBJECTIVES, build
from ssl_tt.objectives.config import (
    APCConfig,
    CPC2Config,
    CPCConfig,
    CPCPart,
    IndependentAugmentation,
    JointConfig,
    QuantizerConfig,
    VAEConfig,
    VQVAE2Config,
    VQVAEConfig,
    VQVAEPart,
)
from ssl_tt.objectives.objective import Objective

CONFIGS = {
    "cpc": CPCConfig(context_channels=20, steps=3, negative_count=16),
    "cpc gru": CPCConfig(context="gru", context_channels=20, context_layers=2, steps=2, step_frames=3),
    "cpc conv": CPCConfig(context="conv", context_channels=20, context_layers=2, steps=3),
    "cpc of both": CPCConfig(context="none", targets="prelayer", predict_from="both", steps=3),
    "cpc of codes": CPCConfig(
        context_channels=20,
        steps=3,
        negative_count=16,
        # Codes that stay behind an encoder that learns so fast become few, and then tie.
        quantizer=QuantizerConfig(codes=128, code_channels=8, ema_decay=0.8),
    ),
    "cpc of coded pre-layers": CPCConfig(
        context="none",
        targets="prelayer",
        steps=3,
        negative_count=16,
        quantizer=QuantizerConfig(codes=32, code_channels=16, groups=2, codebook="learned", distance="cosine"),
    ),
    "cpc mlp": CPCConfig(predictor="mlp", context_channels=20, steps=2),
    "cpc recurrent": CPCConfig(predictor="recurrent", context_channels=20, steps=3),
    "cpc transformer": CPCConfig(predictor="transformer", context_channels=16, steps=2),
    "cpc2": CPC2Config(
        context_channels=20,
        horizons=(1, 3),
        steps=2,
        negative_count=16,
        # One batch with other noise and losses every time is not learnt by heart.
        augment_past=IndependentAugmentation(noise_probability=0.0, dropout_probability=0.0),
        augment_future=IndependentAugmentation(noise_probability=0.0, dropout_probability=0.0),
    ),
    "apc": APCConfig(context="gru", context_channels=20, steps_ahead=2),
    "vae": VAEConfig(latent_channels=8, beta=0.2, beta_warmup_steps=3),
    "vqvae": VQVAEConfig(codes=32, code_channels=8),
    "vqvae of groups": VQVAEConfig(
        codes=8, code_channels=8, groups=2, codebook="learned", codebook_start="kmeans", distance="cosine"
    ),
    "vqvae2": VQVAE2Config(codes=32, code_channels=8, time_jitter=0.1),
    "joint": JointConfig(
        parts={
            "contrast": CPCPart(context_channels=20, steps=3, negative_count=16),
            "reconstruction": VQVAEPart(codes=32, code_channels=8, weight=2.0),
        }
    ),
}

objectives = pytest.mark.parametrize("name", CONFIGS)


def made(name: str) -> Objective:
    return build(CONFIGS[name], encoder())


def test_every_kind_of_settings_has_its_objective():
    assert set(OBJECTIVES) == {config.kind for config in CONFIGS.values()}
    for name, config in CONFIGS.items():
        assert type(made(name)).__name__.lower() == config.kind


def test_naming_the_objectives_does_not_import_torch():
    code = "import sys, ssl_tt.objectives, ssl_tt.objectives.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@objectives
def test_an_objective_overfits_one_batch(name):
    losses = train(made(name), batch(windows=2), steps=60)
    assert all(map(math.isfinite, losses))
    assert losses[-1] < 0.4 * losses[0]


@objectives
def test_an_objective_learns_in_bf16_as_in_fp32(name):
    fp32, bf16 = (train(made(name), batch(windows=2), steps=12, autocast=autocast) for autocast in (False, True))
    assert bf16[0] == pytest.approx(fp32[0], rel=0.01)
    assert bf16[-1] == pytest.approx(fp32[-1], rel=0.04)


@objectives
def test_training_goes_on_from_its_state_with_the_same_bits(name):
    def steps(objective: Objective, optimizer: torch.optim.Optimizer, numbers: range) -> None:
        for step in numbers:
            torch.manual_seed(step)
            loss = objective(batch(windows=4, frames=16, seed=step)).total
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            objective.after_optimizer_step()

    def started() -> tuple[Objective, torch.optim.Optimizer]:
        objective = made(name)
        return objective, torch.optim.AdamW(objective.parameters(), lr=4e-3)

    undisturbed, optimizer = started()
    steps(undisturbed, optimizer, range(4))
    stopped, optimizer = started()
    steps(stopped, optimizer, range(2))
    resumed, resumed_optimizer = started()
    resumed.load_state_dict(stopped.state_dict())
    resumed_optimizer.load_state_dict(optimizer.state_dict())
    steps(resumed, resumed_optimizer, range(2, 4))
    for key, value in undisturbed.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[key]), key


@objectives
def test_loss_and_gradient_are_functions_of_the_seed_alone(name):
    results = []
    for seed in (3, 3):
        objective = made(name)
        torch.manual_seed(seed)
        loss = objective(batch()).total
        loss.backward()
        results.append([loss, *(p.grad for p in objective.parameters())])
        torch.rand(1)  # another state of the generator for what follows
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@objectives
def test_every_parameter_gets_a_finite_gradient(name):
    objective = made(name)
    train(objective, batch(windows=2), steps=2)  # a decoder whose output layer is zero hides what lies before it
    objective.zero_grad()
    objective(batch(windows=2)).total.backward()
    for parameter_name, parameter in objective.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.isfinite().all(), parameter_name
        assert parameter.grad.abs().max() > 0, parameter_name


@objectives
def test_parts_are_detached_scalars(name):
    loss = made(name)(batch())
    assert loss.total.dtype == torch.float32
    assert loss.parts
    assert all(part.ndim == 0 and not part.requires_grad for part in loss.parts.values())


@objectives
@torch.no_grad()
def test_no_representation_depends_on_the_future(name):
    objective = made(name)
    with torch.enable_grad():
        objective(batch())  # gives the first codes
    objective.eval()
    now = tones(3)[:, 0]
    other = now.clone()
    cut = 17
    other[:, cut * HOP :] = tones(3, seed=1)[:, 0, cut * HOP :]
    before, _ = objective.representations(now)
    after, _ = objective.representations(other)
    for key in before:
        assert torch.equal(before[key][:, :cut], after[key][:, :cut])
        assert not torch.equal(before[key][:, cut:], after[key][:, cut:])


@objectives
def test_the_gradient_of_a_representation_to_later_samples_is_zero(name):
    objective, cut = made(name), 20  # a frame of a top level of stride 4 ends here too
    objective(batch())
    objective.eval()
    samples = tones(2)[:, 0].requires_grad_()
    found, _ = objective.representations(samples)
    for value in found.values():
        (gradient,) = torch.autograd.grad(value[:, :cut].square().sum(), samples, retain_graph=True)
        assert not gradient[:, cut * HOP :].any()
        assert gradient[:, (cut - 1) * HOP : cut * HOP].any()


@objectives
@torch.no_grad()
def test_any_chunking_of_representations_equals_the_whole(name):
    objective = made(name)
    objective(batch())
    objective.eval()
    samples = tones(3)[:, 0]
    whole, _ = objective.representations(samples)
    state, chunks = None, []
    for chunk in samples.split([7 * HOP, HOP, HOP, 20 * HOP, 11 * HOP], dim=1):
        outputs, state = objective.representations(chunk, state)
        chunks.append(outputs)
    for key, value in whole.items():
        torch.testing.assert_close(torch.cat([chunk[key] for chunk in chunks], dim=1), value, rtol=1e-4, atol=1e-5)


@objectives
def test_representations_and_diagnostics_leave_weights_codes_and_generator_alone(name):
    objective = made(name).eval()
    before = {key: value.clone() for key, value in objective.state_dict().items()}
    generator = torch.get_rng_state()
    with torch.no_grad():
        objective.representations(tones(2)[:, 0])
        objective.diagnostics(tones(2)[:, 0])
    if name != "vae":  # which counts its optimizer steps
        objective.after_optimizer_step()
    assert torch.equal(generator, torch.get_rng_state())
    assert all(torch.equal(value, before[key]) for key, value in objective.state_dict().items())


@pytest.mark.parametrize("name", ["cpc", "cpc gru", "cpc conv", "cpc of both"])
def test_a_window_shorter_than_the_prediction_is_refused(name):
    reach = CONFIGS[name].steps * CONFIGS[name].step_frames
    with pytest.raises(InputError, match=rf"window of {reach} frames.*{reach} that CPC predicts.*raise"):
        made(name)(batch(frames=reach))
    assert made(name)(batch(frames=reach + 1)).total.isfinite()


def test_predicting_from_both_speakers_lets_the_other_channel_matter_and_its_place_not():
    data = batch()
    changed = data._replace(samples=torch.stack([data.samples[:, 0], tones(4, seed=1)[:, 1]], dim=1))
    swapped = data._replace(samples=data.samples.flip(1))
    for source, matters in (("own", False), ("both", True)):
        config = CPCConfig(context_channels=20, steps=2, predict_from=source, negative_count=1000)
        objective = build(config, encoder())
        targets, contexts, _ = zip(
            *(objective._encode(b.samples.flatten(0, 1), 2) for b in (data, changed)), strict=True
        )
        assert torch.equal(targets[0][::2], targets[1][::2])
        assert torch.equal(contexts[0][::2], contexts[1][::2]) != matters
        torch.testing.assert_close(objective(data).total, objective(swapped).total)


def test_predicting_from_both_speakers_needs_two():
    with pytest.raises(InputError, match=r'predict_from "both": got windows of 3 channels.*choose "own"'):
        made("cpc of both")(batch(speakers=3))


def test_the_first_loss_of_the_vqvae_is_the_variance_of_the_log_mel_and_the_weighted_commitment():
    objective = made("vqvae")
    data = batch()
    loss = objective(data)
    log_mel, _ = objective.encoder.features(data.samples.flatten(0, 1))
    torch.testing.assert_close(loss.parts["reconstruction"], log_mel.square().mean())
    torch.testing.assert_close(loss.total, loss.parts["reconstruction"] + 0.25 * loss.parts["commitment"])


@pytest.mark.parametrize("name", ["vae", "vqvae", "vqvae of groups", "vqvae2"])
def test_a_reconstruction_uses_no_later_frame(name):
    objective = made(name)
    train(objective, batch(), steps=2)
    objective.eval()
    now = tones(3)[:, 0]
    other = now.clone()
    other[:, 17 * HOP :] = tones(3, seed=1)[:, 0, 17 * HOP :]
    with torch.no_grad():
        before, after = (objective.diagnostics(samples)["reconstruction"] for samples in (now, other))
    end = 17 * ENCODER.stride
    assert torch.equal(before[:, :end], after[:, :end])
    assert not torch.equal(before[:, end:], after[:, end:])


@pytest.mark.parametrize("config", [VQVAEConfig(time_jitter=0.5), VQVAE2Config(time_jitter=0.5)], ids=["one", "two"])
@torch.no_grad()
def test_jitter_shows_the_decoder_no_later_frame_in_training(config):
    objective = build(config, encoder())
    for stack in objective.decoder.stacks:
        torch.nn.init.normal_(stack.output.weight)
    now = tones(3)[:, 0]
    other = now.clone()
    other[:, 17 * HOP :] = 3 * tones(3, seed=1)[:, 0, 17 * HOP :]
    found = []
    for samples in (now, other):
        torch.manual_seed(0)
        found.append(objective.diagnostics(samples)["reconstruction"])
    end = 17 * ENCODER.stride
    assert torch.equal(found[0][:, :end], found[1][:, :end])
    assert not torch.equal(found[0], objective.eval().diagnostics(now)["reconstruction"])


def test_diagnostics_of_the_vqvae_are_what_the_loss_compares():
    objective = made("vqvae")
    data = batch()
    train(objective, data, steps=3)
    objective.eval()
    with torch.no_grad():
        loss = objective(data)
        drawn = objective.diagnostics(data.samples.flatten(0, 1))
    assert drawn["input"].shape == drawn["reconstruction"].shape == (8, 80, 16)
    assert drawn["codes"].shape == (8, 40)
    error = (drawn["input"] - drawn["reconstruction"]).square().mean()
    torch.testing.assert_close(error, loss.parts["reconstruction"])


def test_negatives_from_the_sequence_make_accumulation_equal_one_batch():
    config = CPCConfig(context_channels=20, steps=3, negative_count=1000)  # all frames, so that nothing is drawn
    whole, halves = build(config, encoder()), build(config, encoder())
    whole.load_state_dict(halves.state_dict())
    data = batch(windows=8)
    whole(data).total.backward()
    for half in (slice(0, 4), slice(4, 8)):
        part = Batch(data.samples[half], None, data.conversation[half], data.item[half])
        (halves(part).total / 2).backward()
    for (name, a), b in zip(whole.named_parameters(), halves.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-6, msg=name)


SOURCES = {
    # Whether sequences (window, speaker) of which the windows are of these conversations may be told apart.
    "sequence": lambda a, b, same: a == b,
    "other_channel": lambda a, b, same: a[0] == b[0] and a[1] != b[1],
    "same_conversation": lambda a, b, same: same,
    "other_conversation": lambda a, b, same: not same,
    "batch": lambda a, b, same: True,
    "all_ranks": lambda a, b, same: True,
}


@pytest.mark.parametrize("source", SOURCES)
def test_the_loss_of_cpc_is_that_of_a_loop_over_sequences_steps_and_frames(source):
    config = CPCConfig(context_channels=20, steps=2, step_frames=3, negatives=source, negative_count=1000)
    objective, data = build(config, encoder()), batch(frames=12)
    for predictor in objective.predictors:
        torch.nn.init.normal_(predictor.weight)  # scores that matter
    z = objective.encoder(data.samples.flatten(0, 1))[0]
    context = objective.context(z)[0]
    sequences = [(window, speaker) for window in range(4) for speaker in range(2)]
    frames = [(b, t) for b in range(8) for t in range(12)]

    def allowed(b: int, other: int) -> bool:
        same = bool(data.conversation[sequences[b][0]] == data.conversation[sequences[other][0]])
        return SOURCES[source](sequences[b], sequences[other], same)

    steps = []
    for predictor, ahead in zip(objective.predictors, (3, 6), strict=True):
        losses = []
        for b in range(8):
            for t in range(12 - ahead):
                predicted = predictor(context[b, t])
                negatives = [z[o, u] @ predicted for o, u in frames if allowed(b, o) and (o, u) != (b, t + ahead)]
                scores = torch.stack([z[b, t + ahead] @ predicted, *negatives])
                losses.append(scores.logsumexp(0) - scores[0])
        steps.append(torch.stack(losses).mean())
    torch.testing.assert_close(objective(data).total, torch.stack(steps).mean())


@pytest.mark.parametrize("source", ["sequence", "other_channel", "same_conversation", "other_conversation", "batch"])
def test_cpc_trains_with_every_source_of_negatives(source):
    config = CPCConfig(context_channels=20, steps=2, negative_count=30, negatives=source)
    losses = train(build(config, encoder()), batch(), steps=12)
    assert losses[-1] < losses[0]


def test_on_one_process_all_ranks_are_the_batch():
    losses = []
    for source in ("batch", "all_ranks"):
        config = CPCConfig(context_channels=20, steps=2, negative_count=30, negatives=source)
        objective = build(config, encoder())
        torch.manual_seed(5)
        losses.append(objective(batch()).total)
    assert torch.equal(*losses)


def test_cpc_diagnostics_hold_each_positive_against_all_other_frames_of_its_sequence():
    objective = build(CPCConfig(context_channels=20, steps=2, temperature=0.5), encoder()).eval()
    samples = tones(2, frames=12)[:, 0]
    with torch.no_grad():
        drawn = objective.diagnostics(samples)
        outputs, _ = objective.representations(samples)
        for h, predictor in enumerate(objective.predictors, start=1):
            losses = []
            for z, context in zip(outputs["encoder"], outputs["context"], strict=True):
                scores = predictor(context[:-h]) @ z.T / 0.5
                losses.append(torch.nn.functional.cross_entropy(scores, torch.arange(h, 12)))
            torch.testing.assert_close(drawn["loss_by_step"][h - 1], torch.stack(losses).mean())
    assert drawn["accuracy_by_step"].shape == (2,)


@pytest.mark.parametrize(
    ("change", "module", "expected"),
    [
        ({"context_channels": 28}, "context", 28),
        ({"context_layers": 3}, "context", 3),
        ({"context": "gru"}, "context", "GRU"),
    ],
)
def test_settings_of_the_context_are_used(change, module, expected):
    context = build(CPCConfig(**change), encoder()).context
    assert expected in (context.hidden_size, context.num_layers, type(context).__name__)


def test_settings_of_the_vqvae_are_used():
    config = VQVAEConfig(codes=40, code_channels=7, ema_decay=0.5, revive_below=0.2, decoder_channels=18, commitment=3)
    objective = build(config, encoder())
    assert objective.quantizer.codebook.shape == (40, 7)
    assert objective.quantizer.config is config
    assert objective.decoder.stacks[0].input.out_channels == 18
    loss = objective(batch())
    torch.testing.assert_close(loss.total, loss.parts["reconstruction"] + 3 * loss.parts["commitment"])


VARIANTS = {
    "wavenet": {"block": "wavenet"},
    "separable, weight norm": {"separable": True, "normalisation": "weight"},
    "pre-layers of two": {
        "stride": 4,
        "stacks": (
            StackConfig(dilations=(1, 3), prelayers=(PrelayerConfig(), PrelayerConfig())),
            StackConfig(dilations=(2,)),
        ),
    },
    "mean at every layer": {"combine_at": "every_layer"},
    "wavenets joined at every layer": {"block": "wavenet", "combine": "concat", "combine_at": "every_layer"},
    "2d": {"convolution": "2d", "frequency_stride": 2, "channels": 8, "normalisation": "none"},
    "schedule": {"stacks": (StackConfig(dilations=DilationSchedule(schedule="hole_free", depth=2)),)},
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("name", ["vqvae", "cpc of both"])
def test_an_objective_overfits_one_batch_with_every_variant_of_the_encoder(name, variant):
    torch.manual_seed(0)
    objective = build(CONFIGS[name], Encoder(EncoderConfig.model_validate({**dict(ENCODER), **VARIANTS[variant]})))
    data = batch(windows=2)
    diagnostics = objective.diagnostics(data.samples[0])
    if name == "vqvae":
        assert diagnostics["reconstruction"].shape == diagnostics["input"].shape == (2, 80, 16)
    losses = train(objective, data, steps=60)
    assert all(map(math.isfinite, losses))
    assert losses[-1] < 0.5 * losses[0]
    for parameter_name, parameter in objective.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().max() > 0, parameter_name
