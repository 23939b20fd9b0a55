"""The FER student as a torch module: a small plain convolutional trunk and two heads."""

import torch
from torch import nn

LABELS = 7


def _conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class Residual(nn.Module):
    """Two 3x3 convolutions with a short cut (He et al., CVPR 2016); plain ones, since these are what a CPU runs
    fast."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _conv(width, width)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.second(self.first(x)))


class FerNet(nn.Module):
    """(n, 1, 48, 48) normalised grey crops -> features, and from these an emotion and a reject head."""

    def __init__(self, widths: tuple[int, int, int, int], features: int = 256) -> None:
        """``widths``: channels of the four stages. The early ones cost the time, the late ones the parameters."""
        super().__init__()
        a, b, c, d = widths
        trunk = [_conv(1, a, 2), Residual(a), _conv(a, b, 2), Residual(b), _conv(b, c, 2), Residual(c), _conv(c, d, 2)]
        self.trunk = nn.Sequential(*trunk)
        self.pool = nn.Sequential(
            nn.Conv2d(d, 48, 1), nn.Flatten(), nn.Linear(48 * 9, features), nn.BatchNorm1d(features), nn.ReLU()
        )
        self.drop = nn.Dropout(0.3)
        self.emotion = nn.Linear(features, LABELS)
        self.reject = nn.Linear(features, 1)

    @classmethod
    def of(cls, state: dict[str, torch.Tensor]) -> "FerNet":
        """The net of a ``state_dict``, whose shapes say the widths. Raises KeyError or RuntimeError if it is none."""
        a, b, c, d = (len(state[f"trunk.{stage}.0.weight"]) for stage in (0, 2, 4, 6))
        net: FerNet = cls((a, b, c, d)).eval()
        net.load_state_dict(state)
        return net

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """(n, features)."""
        return self.drop(self.pool(self.trunk(x)))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits (n, 7) and reject logits (n,)."""
        f = self.features(x)
        return self.emotion(f), self.reject(f)[:, 0]


class Exported(nn.Module):
    """What the ONNX file computes: probabilities (n, 7), calibrated and pulled to flat by the reject score."""

    def __init__(
        self, net: FerNet, temperature: float = 1.0, bias: torch.Tensor | None = None, shift: float = 0.0
    ) -> None:
        """``shift``: added to the reject logit, so that doubt starts at noise."""
        super().__init__()
        self.register_buffer("bias", torch.zeros(LABELS) if bias is None else bias.float())
        self.net = net
        self.temperature = temperature
        self.shift = shift

    def raw(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, 1, 48, 48) -> logits (n, 7) before calibration and reject logits (n,) before the shift."""
        logits, reject = self.net(crops)
        return logits, reject

    def logits(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, 1, 48, 48) -> logits (n, 7) before calibration and face score (n,) in [0, 1]."""
        logits, reject = self.raw(crops)
        return logits, 1 - torch.sigmoid(reject + self.shift)

    def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(n, 1, 48, 48) -> probabilities (n, 7) and face score (n,) in [0, 1]."""
        logits, face = self.logits(crops)
        probabilities = torch.softmax(logits / self.temperature + self.bias, dim=1)
        return face[:, None] * probabilities + (1 - face[:, None]) / LABELS, face
