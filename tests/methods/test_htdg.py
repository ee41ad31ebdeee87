"""HTDG: what its networks learn, and how their votes become scores and maps."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy, interpolate, mse_loss, pad

from fsad.engine.stage import FitStage
from fsad.errors import ConfigError
from fsad.functional.warps import warp_table, warps
from fsad.methods.htdg import Htdg
from fsad.methods.htdg.scale import ScaleModule
from fsad.methods.htdg.settings import Fit
from fsad.nn.patch_pyramid import resize_matrix, resized
from fsad.nn.unlearnt import ColourExtractor

FIT = {"epochs": 2, "iterations": 3}
SMALL = {"scales": 2, "size": 32}
SIDE = 48


def images(count, seed=0, side=SIDE):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def method(**options):
    return Htdg(**{"fit": FIT, **SMALL, **options})


def scorer_of(**options):
    return method(**options).plan(ColourExtractor(SIDE)).scorer.eval()


def module_of(scale, shots=2, **options):
    """A scale's module in float64, that looks at some shots."""
    made = method(**options)
    scorer = made.plan(ColourExtractor(SIDE)).scorer.double()
    module = ScaleModule(scorer, scale, made.fit, 0)
    module.look_at(images(shots).double())
    module.network.train()
    return module


@torch.no_grad()
def scores(scorer, queries):
    return scorer.score(queries)


# --- scores ---


@torch.no_grad()
def plain_wrong(scorer, image, scale):
    """1 - p of each transform, made one after the other."""
    size = scorer.sizes[scale]
    seen = 2 * resized(image[None], resize_matrix(SIDE, size)) - 1
    net, found = scorer.networks(scale).discriminator, []
    for number, way in enumerate(warps("rotations")):
        logits = net(torch.rot90(seen, way.turns, (2, 3)))[0, :4]
        found.append(1 - logits.softmax(dim=0)[number])
    return torch.stack(found)


@pytest.mark.parametrize("share", [0.05, 0.3, 1.0])
def test_an_image_scores_by_its_worst_patches_of_each_transform(share):
    scorer, (image,) = scorer_of(share=share), images(1, 1)
    for scale in range(2):
        wrong = plain_wrong(scorer, image, scale).flatten(1)
        count = max(1, math.floor(share * wrong.shape[1]))
        expected = wrong.sort(dim=1, descending=True).values[:, :count].mean()
        found = scores(scorer, image[None])[f"scale{scale}"].images[0]
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_the_map_is_the_mean_of_the_votes_about_each_pixel():
    scorer, (image,) = scorer_of(), images(1, 1)
    for scale, size in enumerate(scorer.sizes):
        wrong = plain_wrong(scorer, image, scale)
        bordered = pad(wrong[None], (5, 5, 5, 5), mode="replicate")[0]
        turned = [torch.rot90(each, -turns) for turns, each in enumerate(bordered)]
        mean = torch.stack(turned).mean(dim=0)
        assert mean.shape == (size, size)
        expected = interpolate(mean[None, None], size=(32, 32), mode="bilinear")[0, 0]
        found = scores(scorer, image[None])[f"scale{scale}"].patches[0]
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("transforms", ["rotations", "gray", "all"])
def test_a_score_does_not_depend_on_the_images_beside_it(transforms):
    scorer, queries = scorer_of(transforms=transforms), images(3, 2)
    together = scores(scorer, queries)
    for row in range(3):
        alone = scores(scorer, queries[row : row + 1])
        for name, part in together.items():
            assert torch.equal(alone[name].images[0], part.images[row])
            assert torch.equal(alone[name].patches[0], part.patches[row])


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_a_constant_image_has_a_finite_score(value):
    for part in scores(scorer_of(), torch.full((1, 3, SIDE, SIDE), value)).values():
        assert part.images.isfinite().all()
        assert part.patches.isfinite().all()
        assert 0 <= float(part.images) <= 1


# --- what is learnt ---


@pytest.mark.parametrize("transforms", ["rotations", "gray", "all"])
def test_the_losses_are_those_of_a_loop_over_transforms(transforms):
    """One transform after the other gives the batch norm of each its own batch: so by its mean."""
    module = module_of(1, transforms=transforms)
    module.discriminator.eval()  # by fixed statistics, so that a loop may be held against it
    module.generator.eval()
    noise, before = module._noise(1, 7), module._before(1, 7, 0)
    numbers = torch.arange(2)
    with torch.no_grad():
        made = module.generator(noise, before, numbers)
        found = module.discriminator_loss(made)
        fooled, rebuilt = module.generator_losses(noise, before)
        real = 2 * resized(images(2).double(), resize_matrix(SIDE, 32).double()) - 1
        of_real, of_made, of_fooled = [], [], []
        ways = warps(transforms)
        for number, way in enumerate(ways):
            one = warp_table([way], 32)
            for batch, losses, wanted in (
                (real, of_real, number),
                (made, of_made, len(ways)),
                (made, of_fooled, number),
            ):
                logits = module.discriminator(one.apply(batch))
                classes = torch.full((2, *logits.shape[2:]), wanted)
                losses.append(cross_entropy(logits, classes))
        kept = module.generator(module._noise(1, "kept"), module._before(1, "kept"), numbers)
    total = torch.stack(of_real).mean() + torch.stack(of_made).mean()
    torch.testing.assert_close(found, total)
    torch.testing.assert_close(fooled, torch.stack(of_fooled).mean())
    torch.testing.assert_close(rebuilt, mse_loss(kept, real))


def test_noise_is_a_tenth_of_what_coarser_scales_leave_undone():
    module = module_of(1)
    real = 2 * resized(images(2).double(), resize_matrix(SIDE, 32).double()) - 1
    before = module._before(1, "kept")
    expected = 0.1 * (real - before).abs().mean(dim=(1, 2, 3))
    torch.testing.assert_close(module._strengths[1], expected)
    assert module._strengths[0].tolist() == [1.0, 1.0]
    assert module._noise(0, 3).std() == pytest.approx(1.0, abs=0.1)


def test_what_comes_before_is_a_function_of_its_key():
    module = module_of(1)
    assert torch.equal(module._before(1, 4, 0), module._before(1, 4, 0))
    assert not torch.equal(module._before(1, 4, 0), module._before(1, 4, 1))
    assert not torch.equal(module._noise(1, 4), module._noise(1, 5))


def trained(module, iterations):
    """Train a module without a Trainer; return the losses of each iteration."""
    optimizers = module.configure_optimizers()
    module.optimizers = lambda: optimizers
    module.manual_backward = lambda loss, **words: loss.backward(**words)
    return [torch.stack(module._iteration(number)) for number in range(iterations)]


def test_the_losses_fall_and_the_shots_are_made_again():
    losses = trained(module_of(0, shots=1), 25)
    first, last = torch.stack(losses[:3]).mean(dim=0), torch.stack(losses[-3:]).mean(dim=0)
    assert first[0] == pytest.approx(2 * math.log(5), abs=0.5)
    assert last[0] < 0.8 * first[0]
    assert last[2] < 0.5 * first[2]


def test_the_step_of_one_network_leaves_the_other_as_it_is():
    module = module_of(0)
    before = {name: value.clone() for name, value in module.network.named_parameters()}
    optimizers = module.configure_optimizers()
    module.optimizers = lambda: optimizers
    module.manual_backward = lambda loss, **words: loss.backward(**words)
    optimizers[0].step = lambda: None
    module._iteration(0)
    for name, value in module.network.named_parameters():
        assert torch.equal(value, before[name]) == name.startswith("discriminator")


@pytest.mark.parametrize(("scale", "made"), [(0, 1), (1, 3)])
def test_at_the_coarsest_scale_images_are_made_once_for_all_steps(scale, made, monkeypatch):
    module, calls = module_of(scale), []
    whole = ScaleModule._made
    monkeypatch.setattr(ScaleModule, "_made", lambda *args: calls.append(0) or whole(*args))
    trained(module, 1)
    assert len(calls) == made


def test_rates_fall_to_a_tenth_at_their_iteration():
    module = module_of(0, fit={**FIT, "drop_discriminator": 1, "drop_generator": 2, "lr": 1e-3})
    optimizers = module.configure_optimizers()
    module.optimizers = lambda: optimizers
    module.manual_backward = lambda loss, **words: loss.backward(**words)
    found = []
    for number in range(3):
        module._iteration(number)
        found.append(tuple(each.param_groups[0]["lr"] for each in optimizers))
    assert found == [
        pytest.approx((1e-3, 1e-3)),
        pytest.approx((1e-4, 1e-3)),
        pytest.approx((1e-4, 1e-4)),
    ]


@pytest.mark.parametrize(("scale", "alike"), [(1, True), (4, False)])
def test_a_scale_begins_where_the_one_below_ended_if_it_is_as_wide(scale, alike):
    module = module_of(scale, scales=5, size=48)
    below = module.scorer.networks(scale - 1)
    module._begin_as(below)
    ours, theirs = module.discriminator.layers[0].weight, below.discriminator.layers[0].weight
    assert (ours.shape == theirs.shape and torch.equal(ours, theirs)) == alike


# --- the plan ---


def test_a_stage_for_each_scale_and_a_part_of_the_score():
    plan = method(scales=3, size=40).plan(ColourExtractor(SIDE))
    assert [stage.name for stage in plan.stages] == ["scale0", "scale1", "scale2"]
    assert all(isinstance(stage, FitStage) for stage in plan.stages)
    parts = scores(plan.scorer.eval(), images(1))
    assert list(parts) == ["scale0", "scale1", "scale2"]
    combined = plan.combination.combine({name: part.images for name, part in parts.items()})
    torch.testing.assert_close(combined, torch.stack([it.images for it in parts.values()]).mean(0))


def test_fewer_iterations_than_published_are_in_the_name():
    assert method().name == "htdg (6 iterations)"
    assert method(fit={"epochs": 80, "iterations": 25}).name == "htdg"
    assert Fit(80, 25).whole == 2000


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transforms": "mirrors"}, "method.transforms: expected one of rotations, gray, all, got"),
        ({"share": 0}, "method.share: expected a number above 0, got 0"),
        ({"scales": 1}, "method.scales: expected a whole number of at least 2, got 1"),
        ({"smallest": 10}, "method.smallest: expected a whole number of at least 11, got 10"),
        ({"size": 26}, "method.size: expected more than the 26 pixels of the coarsest scale"),
        ({"fit": {**FIT, "epochs": 0}}, "method.fit.epochs: expected a whole number of at least 1"),
        ({"fit": {**FIT, "lr": 0}}, "method.fit.lr: expected a number above 0, got 0"),
        (
            {"fit": {**FIT, "drop_generator": -1}},
            "method.fit.drop_generator: expected a whole numb",
        ),
        ({"fit": {**FIT, "noise": -1}}, "method.fit.noise: expected a number of at least 0, got"),
    ],
)
def test_a_setting_out_of_range_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        method(**options)


def test_images_smaller_than_the_finest_scale_are_refused():
    message = (
        "data.image_size: expected at least method.size=64, got 48. Take larger images, or a "
        "smaller method.size."
    )
    with pytest.raises(ConfigError, match=f"^{message}$"):
        method(size=64).plan(ColourExtractor(SIDE))


def test_images_without_colours_have_no_use_for_grey_transforms():
    made = method(transforms="all")
    module = ScaleModule(made.plan(ColourExtractor(SIDE)).scorer, 0, made.fit, 0)
    message = (
        "method.transforms: expected rotations or gray with images without colours, got all, in "
        "which some would be alike. Choose one of the others."
    )
    with pytest.raises(ConfigError, match=f"^{message}$"):
        module.look_at(images(1)[:, :1].expand(-1, 3, -1, -1))
