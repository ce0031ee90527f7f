"""Margins: cosines in, logits out. One class per published loss, with its paper and its authors' defaults.

A margin changes the target column of each row, and CurricularFace also the hard others; everything is then scaled.
Gradients are exact, by autograd (the reference ArcFace leaves its margin out of the gradient), and finite at cosine
+-1, where the angle has no derivative: there the sine is held at 3e-4.

Legend: B batch, C identities (those of this process, where a head is split over processes).
"""

import inspect
import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from bench.errors import InputError

_MIN_SQUARED_SINE = 1e-7  # the nearest float32 to 1 has 1.2e-7: only +-1 itself is touched


def _sine(cosine: Tensor) -> Tensor:
    return ((1 - cosine) * (1 + cosine)).clamp_min(_MIN_SQUARED_SINE).sqrt()


def _cosine_of_sum(cosine: Tensor, angle: float | Tensor, *, monotone: bool = False) -> Tensor:
    """cos(theta + angle), without leaving the cosine: no arccos, no loss of digits.

    With ``monotone``, a theta beyond pi - angle gets cos theta - angle * sin(angle), which goes on falling.
    """
    angle = torch.as_tensor(angle, dtype=cosine.dtype, device=cosine.device)
    moved = cosine * angle.cos() - _sine(cosine) * angle.sin()
    return torch.where(cosine > -angle.cos(), moved, cosine - angle * angle.sin()) if monotone else moved


class Margin(nn.Module, ABC):
    """Base of all margins: subclasses say what becomes of the target and, rarely, of the others."""

    needs_norms = False
    """Whether the lengths of the features before normalising are needed."""
    pairwise = False
    """True where each logit is a decision of its own (sigmoid); else a row is one choice (softmax)."""
    regularizer_weight = 0.0

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(
        self, cosine: Tensor, labels: Tensor, feature_norms: Tensor | None = None, target_cosine: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Logits (B, C) and, where the margin has one, the regularizer: a scalar not yet weighted.

        Args:
            cosine: Cosines of embeddings and class weights, (B, C).
            labels: Column of each row's target, (B,); -1 where the target lies in another process.
            feature_norms: Lengths of the features before normalising, (B,); for magface and adaface.
            target_cosine: Where labels are hidden by -1: the target's cosine of every row, (B,), without gradient.
        """
        if self.needs_norms and feature_norms is None:
            raise ValueError(f"{type(self).__name__} needs feature_norms of shape ({len(labels)},); got None")
        rows = (labels >= 0).nonzero().squeeze(1)
        columns = labels[rows]
        target = cosine[rows, columns]
        all_targets = target.detach() if target_cosine is None else target_cosine
        if self.training:
            self.observe(all_targets, feature_norms)
        logits = self.others(cosine, all_targets)
        logits[rows, columns] = self.target(target, None if feature_norms is None else feature_norms[rows])
        return logits, self.regularizer(feature_norms)

    @abstractmethod
    def target(self, cosine: Tensor, feature_norms: Tensor | None) -> Tensor:
        """Logits of the targets, (num_targets,)."""

    def others(self, cosine: Tensor, target_cosine: Tensor) -> Tensor:
        """Logits of all columns as if none were a target, (B, C); a new tensor."""
        return self.scale * cosine

    def observe(self, target_cosine: Tensor, feature_norms: Tensor | None) -> None:
        """Update running statistics from the whole batch; in training only."""

    def regularizer(self, feature_norms: Tensor | None) -> Tensor | None:
        """What the margin adds to the loss, times ``regularizer_weight``."""
        return None


class CombinedMargin(Margin):
    """s * (cos(multiplier * theta + margin) - cosine_margin). Source: arXiv 1801.07698, eq. 4; insightface.

    Beyond an angle of pi the cosine rises again, and training can sink into a false minimum where every target lies at
    cosine -1 (arcface_torch escapes it by leaving the margin out of the gradient). With ``monotone`` it goes on falling
    by the authors' own rules: ArcFace's first code where the multiplier is 1, SphereFace's (-1)**k cos - 2k elsewhere.
    """

    def __init__(
        self,
        scale: float = 64.0,
        multiplier: float = 1.0,
        margin: float = 0.5,
        cosine_margin: float = 0.0,
        monotone: bool = False,
    ) -> None:
        super().__init__(scale)
        self.multiplier, self.margin, self.cosine_margin = multiplier, margin, cosine_margin
        self.monotone = monotone

    def target(self, cosine: Tensor, feature_norms: Tensor | None) -> Tensor:
        """Logits of the targets."""
        if self.multiplier == 1:
            moved = _cosine_of_sum(cosine, self.margin, monotone=self.monotone)
        else:
            angle = self.multiplier * torch.atan2(_sine(cosine), cosine) + self.margin
            half_turns = (angle.detach() / math.pi).floor() if self.monotone else torch.zeros_like(angle)
            moved = (1 - 2 * (half_turns % 2)) * angle.cos() - 2 * half_turns
        return self.scale * (moved - self.cosine_margin)


class ArcFace(CombinedMargin):
    """s * cos(theta + margin), margin in radians. Source: arXiv 1801.07698."""

    def __init__(self, scale: float = 64.0, margin: float = 0.5, monotone: bool = False) -> None:
        super().__init__(scale, margin=margin, monotone=monotone)


class CosFace(Margin):
    """s * (cos theta - margin). Source: arXiv 1801.09414 (margin 0.35); 0.4 is insightface's default."""

    def __init__(self, scale: float = 64.0, margin: float = 0.4) -> None:
        super().__init__(scale)
        self.margin = margin

    def target(self, cosine: Tensor, feature_norms: Tensor | None) -> Tensor:
        """Logits of the targets."""
        return self.scale * (cosine - self.margin)


class SphereFace(CombinedMargin):
    """s * cos(margin * theta). Source: arXiv 1704.08063; 1.7 from the reference trainer.

    The logit turns at 106 degrees, as in the reference trainer; with ``monotone`` it falls on, as in the paper.
    """

    def __init__(self, scale: float = 64.0, margin: float = 1.7, monotone: bool = False) -> None:
        super().__init__(scale, multiplier=margin, margin=0.0, monotone=monotone)


class CurricularFace(Margin):
    """ArcFace, and others harder than the target weigh (t + cos), t the running mean of target cosines.

    A target beyond pi - margin gets cos theta - margin * sin(margin) instead. Source: arXiv 2004.00288 and the authors'
    code (the trainer of HSFace updates t from all cosines instead).
    """

    t: Tensor

    def __init__(self, scale: float = 64.0, margin: float = 0.5) -> None:
        super().__init__(scale)
        self.margin = margin
        self.register_buffer("t", torch.zeros(1))

    def target(self, cosine: Tensor, feature_norms: Tensor | None) -> Tensor:
        """Logits of the targets."""
        return self.scale * _cosine_of_sum(cosine, self.margin, monotone=True)

    def others(self, cosine: Tensor, target_cosine: Tensor) -> Tensor:
        """Logits of all columns; hard ones are those above cos(theta + margin) of their row's target."""
        hard = cosine > _cosine_of_sum(target_cosine, self.margin).unsqueeze(1)
        return self.scale * torch.where(hard, cosine * (self.t + cosine), cosine)

    @torch.no_grad()
    def observe(self, target_cosine: Tensor, feature_norms: Tensor | None) -> None:
        """Take the batch in: t becomes 0.99 t + 0.01 mean target cosine, before it is used."""
        self.t.mul_(0.99).add_(0.01 * target_cosine.mean())


class MagFace(Margin):
    """ArcFace with a margin that grows linearly with the feature norm, and a regularizer that lets norms grow.

    Norms are clamped to [lower_norm, upper_norm]; g(a) = a / upper_norm**2 + 1 / a. Source: arXiv 2103.06627; weight 35
    and the other defaults from the authors' code, without its easy-margin branch; ``monotone`` as in CombinedMargin.
    """

    needs_norms = True

    def __init__(
        self,
        scale: float = 64.0,
        lower_norm: float = 10.0,
        upper_norm: float = 110.0,
        lower_margin: float = 0.45,
        upper_margin: float = 0.8,
        regularizer_weight: float = 35.0,
        monotone: bool = False,
    ) -> None:
        super().__init__(scale)
        self.monotone = monotone
        self.lower_norm, self.upper_norm = lower_norm, upper_norm
        self.lower_margin, self.upper_margin = lower_margin, upper_margin
        self.regularizer_weight = regularizer_weight

    def target(self, cosine: Tensor, feature_norms: Tensor | None) -> Tensor:
        """Logits of the targets; gradient flows into the norms too."""
        slope = (self.upper_margin - self.lower_margin) / (self.upper_norm - self.lower_norm)
        margins = self.lower_margin + slope * (self._clamped(feature_norms) - self.lower_norm)
        return self.scale * _cosine_of_sum(cosine, margins, monotone=self.monotone)

    def regularizer(self, feature_norms: Tensor | None) -> Tensor:
        """Mean of g over the batch."""
        norms = self._clamped(feature_norms)
        return (norms / self.upper_norm**2 + 1 / norms).mean()

    def _clamped(self, feature_norms: Tensor | None) -> Tensor:
        if feature_norms is None:
            raise ValueError("magface needs feature_norms; got None")
        return feature_norms.clamp(self.lower_norm, self.upper_norm)


class AdaFace(Margin):
    """Margin by image quality: q, the standardised feature norm, moves it from the angle to the cosine.

    s * (cos(theta - margin * q) - (margin + margin * q)), q = h * (norm - mean) / std in [-1, 1]; angles stay in
    [1e-3, pi - 1e-3] and cosines in [-0.999, 0.999]. Mean and std follow the batches by ``t_alpha``: 1 takes the
    batch's own, the authors' scripts use 0.01. Source: arXiv 2204.00964 and the authors' code (the trainer of HSFace
    scales the angle by 1 + g).
    """

    needs_norms = True
    _EPSILON = 1e-3
    mean_norm: Tensor
    std_norm: Tensor

    def __init__(self, scale: float = 64.0, margin: float = 0.4, h: float = 0.333, t_alpha: float = 1.0) -> None:
        super().__init__(scale)
        self.margin, self.h, self.t_alpha = margin, h, t_alpha
        self.register_buffer("mean_norm", torch.full((1,), 20.0))
        self.register_buffer("std_norm", torch.full((1,), 100.0))

    def target(self, cosine: Tensor, feature_norms: Tensor | None) -> Tensor:
        """Logits of the targets; no gradient flows into the norms."""
        if feature_norms is None:
            raise ValueError("adaface needs feature_norms; got None")
        norms = feature_norms.detach().clamp(0.001, 100)
        quality = (self.h * (norms - self.mean_norm) / (self.std_norm + self._EPSILON)).clamp(-1, 1)
        angle = cosine.clamp(-1 + self._EPSILON, 1 - self._EPSILON).acos() - self.margin * quality
        moved = angle.clamp(self._EPSILON, math.pi - self._EPSILON).cos()
        return self.scale * (moved - (self.margin + self.margin * quality))

    def others(self, cosine: Tensor, target_cosine: Tensor) -> Tensor:
        """Logits of all columns, clamped as the authors do."""
        return self.scale * cosine.clamp(-1 + self._EPSILON, 1 - self._EPSILON)

    @torch.no_grad()
    def observe(self, target_cosine: Tensor, feature_norms: Tensor | None) -> None:
        """Mean and standard deviation of the batch's norms, taken in by ``t_alpha``."""
        if feature_norms is None:
            raise ValueError("adaface needs feature_norms; got None")
        norms = feature_norms.clamp(0.001, 100)
        self.mean_norm.lerp_(norms.mean(), self.t_alpha)
        self.std_norm.lerp_(norms.std(), self.t_alpha)


class UniFace(Margin):
    """One threshold for all pairs: s * (cos theta - margin) - bias for the target, s * cos theta - bias for others.

    Each logit is a decision of its own: softplus(-target) plus the sum of softplus(other). The bias is learnt, and
    starts at log(10 * num_identities). Source: Zhou et al., UniFace, ICCV 2023, and the authors' code.
    """

    pairwise = True

    def __init__(self, scale: float = 64.0, margin: float = 0.4, num_identities: int = 10_000) -> None:
        super().__init__(scale)
        self.margin = margin
        self.bias = nn.Parameter(torch.tensor([math.log(10 * num_identities)]))

    def target(self, cosine: Tensor, feature_norms: Tensor | None) -> Tensor:
        """Logits of the targets."""
        return self.scale * (cosine - self.margin) - self.bias

    def others(self, cosine: Tensor, target_cosine: Tensor) -> Tensor:
        """Logits of all columns."""
        return self.scale * cosine - self.bias


MARGINS: dict[str, type[Margin]] = {
    "arcface": ArcFace,
    "cosface": CosFace,
    "sphereface": SphereFace,
    "curricularface": CurricularFace,
    "magface": MagFace,
    "adaface": AdaFace,
    "uniface": UniFace,
    "combined": CombinedMargin,
}


def make_margin(kind: str, **parameters: float) -> Margin:
    """The margin of that kind; parameters left out take the authors' defaults.

    Raises:
        InputError: If the kind, or a parameter of it, is unknown.
    """
    if kind not in MARGINS:
        raise InputError(f"margin.kind={kind} is unknown; choose from {', '.join(MARGINS)}")
    known = list(inspect.signature(MARGINS[kind]).parameters)
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise InputError(f"margin.parameters: {kind} does not take {', '.join(unknown)}; it takes {', '.join(known)}")
    return MARGINS[kind](**parameters)
