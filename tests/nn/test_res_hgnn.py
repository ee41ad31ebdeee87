import subprocess
import sys

import dhg
import pytest
import torch
from torch.testing import assert_close

from fsad.errors import ConfigError
from fsad.functional.distance import similarity
from fsad.functional.hypergraph import SoftHypergraph
from fsad.functional.neighbours import bank_neighbours, query_neighbours
from fsad.nn import res_hgnn
from fsad.nn.res_hgnn import LEVELS, ResHGNN
from fsad.runtime.randomness import seeded

S, T, Q, C, HIDDEN, KNN = 21, 13, 7, 5, 8, 6


def build(alpha=0.3, channels=C, hidden=HIDDEN, seed=0):
    return ResHGNN(channels, hidden, alpha=alpha, seed=seed).double().eval()


@pytest.fixture
def bank(normal):
    return normal(S, C), normal(T, C) + 0.5


@pytest.fixture
def features(bank):
    return torch.cat(bank)


@pytest.fixture
def hypergraph(bank):
    return SoftHypergraph.from_neighbours(bank_neighbours(*bank, KNN))


@pytest.fixture
def queries(normal):
    return normal(Q, C) + 0.5


def dense_operator(hypergraph):
    """G of eq. (8), from an incidence matrix written entry by entry."""
    incidence = torch.zeros(len(hypergraph.dv), len(hypergraph.de), dtype=torch.float64)
    for edge, (row, memberships) in enumerate(
        zip(hypergraph.members.tolist(), hypergraph.memberships, strict=True)
    ):
        for vertex, membership in zip(row, memberships, strict=True):
            incidence[vertex, edge] += membership
    left = torch.diag(incidence.sum(dim=1).rsqrt())
    return left @ incidence @ torch.diag(1 / incidence.sum(dim=0)) @ incidence.T @ left


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_in_eval_mode_it_equals_the_written_out_equation_9(features, hypergraph, alpha):
    rectifier, operator = build(alpha), dense_operator(hypergraph)
    theta_2, theta_1 = (layer.theta.weight.T for layer in (rectifier.conv_in, rectifier.conv_out))
    hidden = 1 / (1 + torch.exp(-(operator @ features @ theta_2)))
    expected = alpha * (operator @ hidden @ theta_1) + (1 - alpha) * features
    assert_close(rectifier(features, hypergraph), expected)


@pytest.mark.parametrize("training", [True, False])
def test_alpha_0_is_the_identity(features, hypergraph, queries, bank, training):
    rectifier = build(0.0).train(training)
    assert torch.equal(rectifier(features, hypergraph), features)
    assert torch.equal(rectify(rectifier, queries, bank, hypergraph), queries)


@pytest.mark.filterwarnings("ignore:Sparse")  # dhg builds its matrices in torch's beta formats
def test_on_binary_incidence_dhgs_own_hypergraph_does_the_same(generator):
    members = torch.stack([torch.randperm(T, generator=generator)[:4] for _ in range(9)])
    edges = [tuple(sorted(row)) for row in members.tolist()]
    assert len(set(edges)) == len(edges)  # dhg would merge equal ones
    rectifier = ResHGNN(C, HIDDEN, alpha=1.0).eval()  # float32 is all that dhg can do
    features = torch.randn(T, C, generator=generator)
    ours = rectifier(features, SoftHypergraph(members, torch.ones(9, 4), T))
    assert_close(ours, rectifier(features, dhg.Hypergraph(T, edges)))


def test_gradients_reach_both_matrices_and_there_is_nothing_else_to_train(features, hypergraph):
    rectifier = build()
    rectifier(features, hypergraph).square().sum().backward()
    gradients = {name: parameter.grad for name, parameter in rectifier.named_parameters()}
    assert set(gradients) == {"conv_in.theta.weight", "conv_out.theta.weight"}  # no bias
    for gradient in gradients.values():
        assert gradient.isfinite().all()
        assert gradient.any()


def test_dropout_changes_the_output_in_train_mode_only(features, hypergraph):
    rectifier = build()
    first, second = (rectifier(features, hypergraph) for _ in range(2))
    assert torch.equal(first, second)
    rectifier.train()
    third, fourth = (rectifier(features, hypergraph) for _ in range(2))
    assert not torch.equal(third, fourth)
    assert not torch.equal(third, first)


def test_dropout_sits_on_the_hidden_layer_so_its_mean_is_the_output_without_it(
    features, hypergraph
):
    rectifier = build(alpha=1.0).train()  # linear behind the dropout
    draws = torch.stack([rectifier(features, hypergraph) for _ in range(400)])
    error = (draws.mean(dim=0) - rectifier.eval()(features, hypergraph)).abs()
    assert (error < 5 * draws.std(dim=0) / 400**0.5).all()


def with_dropout(share, seed, alpha=0.7):
    """Rectify in train mode, the same values dropped each time."""
    rectifier = ResHGNN(C, HIDDEN, alpha=alpha, dropout=share, seed=seed).double().train()

    def forward(features, hypergraph):
        torch.manual_seed(seed)
        return rectifier(features, hypergraph)

    return rectifier, forward


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5])
def test_gradients_are_those_of_numerical_differences(features, hypergraph, share):
    rectifier, forward = with_dropout(share, seed=1)
    assert torch.autograd.gradcheck(
        lambda features, *_: forward(features, hypergraph),
        (features.requires_grad_(), *rectifier.parameters()),
        fast_mode=True,
    )


@pytest.mark.parametrize("share", [0.1, 0.5, 0.75])
def test_dropout_sets_its_share_to_zero_and_the_output_is_equation_9_of_what_is_left(
    monkeypatch, features, hypergraph, share
):
    monkeypatch.setattr(res_hgnn, "DROP_CHUNK", 50)  # several, the last one shorter
    rectifier, forward = with_dropout(share, seed=3)
    drop, hidden = res_hgnn._SigmoidDropout.apply, []
    monkeypatch.setattr(
        res_hgnn._SigmoidDropout, "apply", lambda *given: hidden.append(drop(*given)) or hidden[-1]
    )
    found = forward(features, hypergraph)
    kept = hidden[0] != 0
    operator = dense_operator(hypergraph)
    theta_2, theta_1 = (layer.theta.weight.T for layer in (rectifier.conv_in, rectifier.conv_out))
    full = 1 / (1 + torch.exp(-(operator @ features @ theta_2)))
    assert_close(hidden[0], full * kept)
    assert rectifier.kept / LEVELS == pytest.approx(1 - share, abs=1 / LEVELS)
    left = full * kept * LEVELS / rectifier.kept
    assert_close(found, 0.7 * (operator @ left @ theta_1) + 0.3 * features)
    count = kept.numel()
    spread = (share * (1 - share) / count) ** 0.5
    assert abs(float(kept.double().mean()) - (1 - share)) < 5 * spread


def test_dropout_of_nothing_is_eval_mode(features, hypergraph):
    rectifier, forward = with_dropout(0.0, seed=2)
    trained = forward(features, hypergraph)
    assert torch.equal(trained, rectifier.eval()(features, hypergraph))


@pytest.mark.parametrize("training", [True, False])
def test_under_autocast_the_result_keeps_the_precision_of_the_features(
    features, hypergraph, training
):
    rectifier, features = ResHGNN(C, HIDDEN).train(training), features.float()
    torch.manual_seed(4)
    exact = rectifier(features, hypergraph)
    torch.manual_seed(4)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = rectifier(features, hypergraph)
    assert found.dtype == torch.float32
    assert_close(found, exact, rtol=0.02, atol=0.02)  # bfloat16 keeps 8 bits
    found.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in rectifier.parameters())


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_it_does_what_it_does_on_a_cpu(bank, features):
    on_gpu = [part.cuda() for part in bank]
    there = SoftHypergraph.from_neighbours(bank_neighbours(*on_gpu, KNN))
    here = SoftHypergraph.from_neighbours(bank_neighbours(*bank, KNN))
    found = build().cuda()(features.cuda(), there)
    assert_close(found.cpu(), build()(features, here))
    rectifier = build().cuda().train()
    rectifier(features.cuda(), there).square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in rectifier.parameters())


def rectify(rectifier, queries, bank, hypergraph, scale=1.0):
    states = rectifier.bank_states(torch.cat(bank), hypergraph)
    neighbours = query_neighbours(queries, *bank, KNN)
    return rectifier.rectify_queries(queries, neighbours, scale, hypergraph, states)


@pytest.mark.parametrize("scale", [1.0, 0.4])
def test_queries_are_rectified_by_equation_9_over_the_bank_as_it_is(bank, features, queries, scale):
    rectifier = build(alpha=0.7)
    hypergraph = SoftHypergraph.from_neighbours(bank_neighbours(*bank, KNN), scale)
    found = query_neighbours(queries, *bank, KNN)

    def smooth(of_queries, of_bank):  # wide features first, the matrix after
        links = similarity(found.distances, scale), found.indices
        return hypergraph.smooth_queries(of_queries, *links, hypergraph.edge_sums(of_bank))

    theta_2, theta_1 = (layer.theta.weight.T for layer in (rectifier.conv_in, rectifier.conv_out))
    hidden_bank = torch.sigmoid(dense_operator(hypergraph) @ features @ theta_2)
    hidden = torch.sigmoid(smooth(queries, features) @ theta_2)
    expected = 0.7 * smooth(hidden, hidden_bank) @ theta_1 + 0.3 * queries
    assert_close(rectify(rectifier, queries, bank, hypergraph, scale), expected)


def test_a_rectified_query_does_not_depend_on_the_other_queries(bank, hypergraph, queries):
    rectifier = build()
    together = rectify(rectifier, queries, bank, hypergraph)
    for row in range(Q):
        one = slice(row, row + 1)
        alone = rectify(rectifier, queries[one], bank, hypergraph)
        assert_close(alone, together[one], rtol=1e-13, atol=1e-14)


def test_the_seed_alone_decides_the_weights_and_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    first, other = build(seed=7).state_dict(), build(seed=8).state_dict()
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(5)
    again = build(seed=7).state_dict()
    for name, weight in first.items():
        assert torch.equal(weight, again[name])
        assert not torch.equal(weight, other[name])


def test_importing_leaves_the_global_generators_of_torch_and_numpy_alone():
    # Python's own is left out: rich draws an identifier from it when it is imported.
    program = (
        "import numpy, torch\n"
        "def state(): return numpy.random.rand(), float(torch.rand(()))\n"
        "def seed(): numpy.random.seed(1), torch.manual_seed(1)\n"
        "seed(); expected = state(); seed()\n"
        "import fsad.nn.res_hgnn\n"
        "assert state() == expected\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": 1.3}, r"alpha: expected a number in \[0, 1\], got 1\.3"),
        ({"hidden": 0}, r"hidden: expected a whole number of at least 1, got 0"),
        ({"dropout": -1}, r"dropout: expected a number in \[0, 1\], got -1"),
        ({"dropout": 1}, r"dropout: expected a number below 1, got 1"),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(arguments, message):
    with pytest.raises(ConfigError, match=rf"^{message}$"):
        ResHGNN(C, **{"hidden": HIDDEN, **arguments})


def dhgs(layer):
    """dhg's layer with the weights of ours."""
    out, channels = layer.theta.weight.shape
    theirs = dhg.nn.HGNNConv(channels, out, bias=False, is_last=True).to(layer.theta.weight)
    theirs.load_state_dict(layer.state_dict())
    return theirs


def test_smoothing_first_is_what_dhgs_layer_does_after_its_matrix(features, hypergraph):
    rectifier = build(1.0)
    hidden = torch.sigmoid(dhgs(rectifier.conv_in)(features, hypergraph))  # dhg's own order
    expected = dhgs(rectifier.conv_out)(hidden, hypergraph)
    smoothed = hypergraph.smoothing_with_HGNN(features)
    assert_close(rectifier(features, hypergraph), expected)
    assert_close(rectifier(features, hypergraph, smoothed), expected)


def test_a_layer_and_its_gradient_are_dhgs_bit_for_bit(features, hypergraph):
    ours = build().conv_in
    theirs = dhgs(ours)
    results = []
    for layer in (ours, theirs):
        inputs = features.clone().requires_grad_()
        out = layer(inputs, hypergraph)
        out.square().sum().backward()
        results.append((out, inputs.grad, layer.theta.weight.grad))
    assert all(map(torch.equal, *results))


@pytest.mark.parametrize("seed", [0, 3])
def test_the_weights_start_as_dhgs_two_layers_do(seed):
    with seeded(seed, "rectifier"):
        theirs = [
            dhg.nn.HGNNConv(before, after, bias=False, is_last=True)
            for before, after in ((C, HIDDEN), (HIDDEN, C))
        ]
    rectifier = ResHGNN(C, HIDDEN, seed=seed)
    for ours, layer in zip((rectifier.conv_in, rectifier.conv_out), theirs, strict=True):
        assert ours.state_dict().keys() == layer.state_dict().keys()
        assert torch.equal(ours.theta.weight, layer.theta.weight)
