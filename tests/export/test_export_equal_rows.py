"""With equal bank rows, as a flat background gives, an exported program finds what a run finds."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from fsad.functional.distance import nearest
from fsad.functional.prepared import prepare
from fsad.methods.hypertrans.graph import BankGraph
from fsad.nn.res_hgnn import ResHGNN

CHANNELS, ROWS = 32, 300


class Rectified(nn.Module):
    """A query's distance to the target bank, both rectified, as in the test of ``hypertrans``."""

    def __init__(self, equal: int) -> None:
        super().__init__()
        source, target = torch.randn(2, ROWS, CHANNELS)
        target[:equal] = target[0].clone()
        self.query = target[:2].clone()
        self.graph = BankGraph(source, target, knn=6, scale="one")
        self.rectifier = ResHGNN(CHANNELS).eval()
        self.states = self.graph.states(self.rectifier)
        self.target = prepare(self.graph.banks_as_queries(self.rectifier, self.states)[1])

    def forward(self, queries):
        rectified = self.graph.rectify(self.rectifier, self.states, queries)
        return nearest(rectified, self.target)[0][:, 0]


def by_onnxruntime(program, path, queries):
    import onnxruntime

    torch.onnx.export(program, f=path, input_names=["queries"], opset_version=18, verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"queries": queries.numpy()})[0])


@pytest.mark.parametrize("equal", [8, 150])
@torch.no_grad()
def test_both_formats_find_the_runs_neighbours_among_equal_rows(equal, tmp_path):
    module = Rectified(equal)
    run = module(module.query)
    assert_close(run, torch.zeros(2), rtol=0, atol=1e-5)  # of equal rows, with equal neighbours
    program = torch.export.export(module, (module.query,))
    assert_close(program.module()(module.query), run, rtol=0, atol=1e-5)
    ours = by_onnxruntime(program, tmp_path / "model.onnx", module.query)
    assert_close(ours, run, rtol=0, atol=1e-5)
