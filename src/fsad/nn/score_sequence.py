"""What predicts the next scores of several models from their last ones."""

import torch
from torch import Tensor, nn

from fsad.runtime.randomness import seeded

HIDDEN = 6


class ScoreSequence(nn.Module):
    """A bidirectional LSTM of two layers over the scores of the last epochs.

    Args:
        models: How many models are scored, t.
        seed: Of the weights.

    Source:
        AHL (CVPR 2024), section 3.3. Departure: no dropout, and a state of zeros at the start, so
        that a prediction is a function of the scores.
    """

    def __init__(self, models: int, seed: int) -> None:
        super().__init__()
        with seeded(seed, "score sequence"):
            self.lstm = nn.LSTM(models, HIDDEN, 2, batch_first=True, bidirectional=True)
            self.out = nn.Linear(2 * HIDDEN, models)

    def forward(self, history: Tensor) -> Tensor:
        """Predict scores.

        Args:
            history: Scores of t models on n images in the last k epochs, ``(k, t, n)``, in [0, 1].

        Returns:
            Predicted scores of the next epoch, ``(t, n)``, in [0, 1].
        """
        states, _ = self.lstm(history.permute(2, 0, 1))  # (n, k, 2 * hidden)
        return torch.sigmoid(self.out(states[:, -1])).T
