"""Margin losses of face recognition: cosines to class weights in, logits for the cross-entropy out.

One class per published loss, with its paper and with its authors' defaults. A margin lowers the logit of each row's
target identity; CurricularFace also reweights hard negatives. All logits are multiplied by ``scale``.

Gradients are exact: autograd differentiates the margin too, which the reference ArcFace does not. At cosine +-1 the
derivative of the angle is infinite, so the sine is clamped to at least 3e-4 there.

Legend: B batch, C identities (those of this process, if the head is split over processes), theta the angle between an
embedding and a class weight.
"""

import inspect
import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from bench.config.recipe import DEFAULT_MARGINS
from bench.errors import InputError

_MIN_SQUARED_SINE = 1e-7  # the float32 next below 1 has 1.2e-7, so only a cosine of exactly +-1 is changed


def _sine(cosine: Tensor) -> Tensor:
    return ((1 - cosine) * (1 + cosine)).clamp_min(_MIN_SQUARED_SINE).sqrt()


def _shifted_cosine(cosine: Tensor, angle: float | Tensor, *, monotone: bool = False) -> Tensor:
    """cos(theta + angle) by the addition theorem, which is more precise than taking the arc cosine first.

    With ``monotone``, targets with theta > pi - angle get cos(theta) - angle * sin(angle) instead. That keeps falling
    as theta grows, whereas cos(theta + angle) rises again.
    """
    angle = torch.as_tensor(angle, dtype=cosine.dtype, device=cosine.device)
    shifted = cosine * angle.cos() - _sine(cosine) * angle.sin()
    if not monotone:
        return shifted
    return torch.where(cosine > -angle.cos(), shifted, cosine - angle * angle.sin())


def target_places(labels: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Whether this process holds the target of each row, (B,), and row and column of the targets, (B,) each.

    Rows whose target another process holds get column 0. Selecting rows with ``nonzero`` instead would make the CPU
    wait for the GPU at every step, to learn their number.

    Args:
        labels: Column of each row's target identity, shape (B,); -1 if another process holds that identity.
    """
    return labels >= 0, (torch.arange(len(labels), device=labels.device), labels.clamp_min(0))


class Margin(nn.Module, ABC):
    """Base of all margins. Subclasses define the target's logit, and where needed the logits of other identities."""

    needs_norms = False
    """Whether ``forward`` needs the norms of the features."""
    pairwise = False
    """True for a binary loss per logit (sigmoid), False for one softmax per row."""
    regularizer_weight = 0.0

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(
        self, cosine: Tensor, labels: Tensor, feature_norms: Tensor | None = None, target_cosine: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Logits (B, C), and the unweighted regularizer (a scalar) of margins that have one, else None.

        Args:
            cosine: Cosines of embeddings and class weights, shape (B, C), in [-1, 1]. Not modified.
            labels: Column of each row's target identity, shape (B,); -1 if another process holds that identity.
            feature_norms: L2 norms of the features before normalisation, shape (B,); needed by magface and adaface.
            target_cosine: Cosine of every row's target without gradient, shape (B,). Needed if a label is -1.

        Raises:
            ValueError: If the margin needs ``feature_norms`` and gets None.
        """
        if self.needs_norms and feature_norms is None:
            raise ValueError(f"{type(self).__name__} needs feature_norms of shape ({len(labels)},); got None")
        is_here, places = target_places(labels)
        target = torch.where(is_here, cosine[places], 0.0)
        all_targets = target.detach() if target_cosine is None else target_cosine
        if self.training:
            self.update_statistics(all_targets, feature_norms)
        logits = self.other_logits(cosine, all_targets)
        logits[places] = torch.where(is_here, self.target_logits(target, feature_norms), logits[places])
        return logits, self.regularizer(feature_norms)

    @abstractmethod
    def target_logits(self, cosine: Tensor, feature_norms: Tensor | None) -> Tensor:
        """Logits of the targets, shape (B,), from their cosines; those of targets in other processes are not used."""

    def other_logits(self, cosine: Tensor, target_cosine: Tensor) -> Tensor:
        """Scaled cosines of all identities, before the margin is applied to the targets; a new tensor (B, C)."""
        return self.scale * cosine

    def update_statistics(self, target_cosine: Tensor, feature_norms: Tensor | None) -> None:
        """Update running statistics from the whole batch. Called in training only."""

    def regularizer(self, feature_norms: Tensor | None) -> Tensor | None:
        """Term that is multiplied by ``regularizer_weight`` and added to the loss."""
        return None


class CombinedMargin(Margin):
    """scale * (cos(multiplier * theta + margin) - cosine_margin). Source: arXiv 1801.07698, equation 4; insightface.

    Where multiplier * theta + margin exceeds pi, the cosine rises again. Training can then collapse into a false
    minimum with every target at cosine -1. arcface_torch avoids this by taking no gradient through the margin. Here
    ``monotone`` avoids it by replacing the rising part with a falling one, as the papers' authors did: by
    cos(theta) - margin * sin(margin) where the multiplier is 1 (ArcFace's first code), by (-1)^k cos(angle) - 2k
    elsewhere (SphereFace).

    Args:
        scale: Factor of all logits.
        multiplier: Factor of theta (SphereFace).
        margin: Added to the angle, radians (ArcFace).
        cosine_margin: Subtracted from the cosine (CosFace).
        monotone: Whether the target's logit falls with theta over the whole range.
    """

    def __init__(
        self,
        scale: float = 64.0,
        multiplier: float = 1.0,
        margin: float = DEFAULT_MARGINS["combined"],
        cosine_margin: float = 0.0,
        monotone: bool = False,
    ) -> None:
        super().__init__(scale)
        self.multiplier, self.margin, self.cosine_margin = multiplier, margin, cosine_margin
        self.monotone = monotone

    def target_logits(self, cosine: Tensor, feature_norms: Tensor | None) -> Tensor:
        """Logits of the targets, shape (B,)."""
        if self.multiplier == 1:
            shifted = _shifted_cosine(cosine, self.margin, monotone=self.monotone)
        else:
            angle = self.multiplier * torch.atan2(_sine(cosine), cosine) + self.margin
            half_turns = (angle.detach() / math.pi).floor() if self.monotone else torch.zeros_like(angle)
            shifted = (1 - 2 * (half_turns % 2)) * angle.cos() - 2 * half_turns
        return self.scale * (shifted - self.cosine_margin)


class ArcFace(CombinedMargin):
    """scale * cos(theta + margin), margin in radians. Source: arXiv 1801.07698. See CombinedMargin for ``monotone``."""

    def __init__(self, scale: float = 64.0, margin: float = DEFAULT_MARGINS["arcface"], monotone: bool = False) -> None:
        super().__init__(scale, margin=margin, monotone=monotone)


class CosFace(Margin):
    """scale * (cos(theta) - margin). Source: arXiv 1801.09414, with margin 0.35; insightface's default is 0.4."""

    def __init__(self, scale: float = 64.0, margin: float = DEFAULT_MARGINS["cosface"]) -> None:
        super().__init__(scale)
        self.margin = margin

    def target_logits(self, cosine: Tensor, feature_norms: Tensor | None) -> Tensor:
        """Logits of the targets, shape (B,)."""
        return self.scale * (cosine - self.margin)


class SphereFace(CombinedMargin):
    """scale * cos(margin * theta). Source: arXiv 1704.08063; margin 1.7 is the default of the HSFace trainer.

    At margin 1.7 the logit is lowest at theta = 106 degrees and then rises, as in that trainer. With ``monotone`` it
    keeps falling, as in the paper.
    """

    def __init__(
        self, scale: float = 64.0, margin: float = DEFAULT_MARGINS["sphereface"], monotone: bool = False
    ) -> None:
        super().__init__(scale, multiplier=margin, margin=0.0, monotone=monotone)


class CurricularFace(Margin):
    """ArcFace that also scales hard negatives. Source: arXiv 2004.00288, equations 2, 8 and 9, and the authors' code.

    An identity is a hard negative if its cosine exceeds cos(theta + margin) of the row's target. Its logit is
    scale * cos * (t + cos), where t is the running mean of the target cosines. Targets with theta > pi - margin get
    cos(theta) - margin * sin(margin). The HSFace trainer differs: it updates t from all cosines.
    """

    t: Tensor

    def __init__(self, scale: float = 64.0, margin: float = DEFAULT_MARGINS["curricularface"]) -> None:
        super().__init__(scale)
        self.margin = margin
        self.register_buffer("t", torch.zeros(1))

    def target_logits(self, cosine: Tensor, feature_norms: Tensor | None) -> Tensor:
        """Logits of the targets, shape (B,)."""
        return self.scale * _shifted_cosine(cosine, self.margin, monotone=True)

    def other_logits(self, cosine: Tensor, target_cosine: Tensor) -> Tensor:
        """Scaled cosines of all identities; hard negatives are multiplied by (t + cos)."""
        is_hard = cosine > _shifted_cosine(target_cosine, self.margin).unsqueeze(1)
        return self.scale * torch.where(is_hard, cosine * (self.t + cosine), cosine)

    @torch.no_grad()
    def update_statistics(self, target_cosine: Tensor, feature_norms: Tensor | None) -> None:
        """Set t to 0.99 * t + 0.01 * mean target cosine; the batch already uses the new t."""
        self.t.mul_(0.99).add_(0.01 * target_cosine.mean())


class MagFace(Margin):
    """ArcFace whose margin grows with the feature norm. Source: arXiv 2103.06627; defaults from the authors' code.

    Norms a are clamped to [lower_norm, upper_norm]. The margin rises linearly over that range from lower_margin to
    upper_margin, radians. The regularizer is the mean of g(a) = a / upper_norm^2 + 1 / a, which rewards large norms.
    The easy-margin branch of the authors' code is left out. See CombinedMargin for ``monotone``.
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

    def target_logits(self, cosine: Tensor, feature_norms: Tensor | None) -> Tensor:
        """Logits of the targets. Gradients also flow into the norms."""
        slope = (self.upper_margin - self.lower_margin) / (self.upper_norm - self.lower_norm)
        margins = self.lower_margin + slope * (self._clamped(feature_norms) - self.lower_norm)
        return self.scale * _shifted_cosine(cosine, margins, monotone=self.monotone)

    def regularizer(self, feature_norms: Tensor | None) -> Tensor:
        """Mean of g(a) over the batch."""
        norms = self._clamped(feature_norms)
        return (norms / self.upper_norm**2 + 1 / norms).mean()

    def _clamped(self, feature_norms: Tensor | None) -> Tensor:
        if feature_norms is None:
            raise ValueError("magface needs feature_norms; got None")
        return feature_norms.clamp(self.lower_norm, self.upper_norm)


class AdaFace(Margin):
    """Margin that adapts to image quality. Source: arXiv 2204.00964, equations 13 and 15, and the authors' code.

    scale * (cos(theta - margin * q) - (margin + margin * q)). The quality q = h * (norm - mean) / std is the
    standardised feature norm, clamped to [-1, 1]. Cosines are clamped to [-0.999, 0.999] and shifted angles to
    [1e-3, pi - 1e-3]. The HSFace trainer differs: it multiplies theta by 1 - margin * q.

    Args:
        scale: Factor of all logits.
        margin: Margin of the angle (radians) and of the cosine.
        h: Factor of the standardised norm; larger values clamp more norms to +-1.
        t_alpha: Weight of a batch in the running mean and std of the norms. 1 uses the batch alone; the authors'
            scripts set 0.01.
    """

    needs_norms = True
    _EPSILON = 1e-3
    mean_norm: Tensor
    std_norm: Tensor

    def __init__(
        self, scale: float = 64.0, margin: float = DEFAULT_MARGINS["adaface"], h: float = 0.333, t_alpha: float = 1.0
    ) -> None:
        super().__init__(scale)
        self.margin, self.h, self.t_alpha = margin, h, t_alpha
        self.register_buffer("mean_norm", torch.full((1,), 20.0))
        self.register_buffer("std_norm", torch.full((1,), 100.0))

    def target_logits(self, cosine: Tensor, feature_norms: Tensor | None) -> Tensor:
        """Logits of the targets. No gradient flows into the norms."""
        if feature_norms is None:
            raise ValueError("adaface needs feature_norms; got None")
        norms = feature_norms.detach().clamp(0.001, 100)
        quality = (self.h * (norms - self.mean_norm) / (self.std_norm + self._EPSILON)).clamp(-1, 1)
        angle = cosine.clamp(-1 + self._EPSILON, 1 - self._EPSILON).acos() - self.margin * quality
        shifted = angle.clamp(self._EPSILON, math.pi - self._EPSILON).cos()
        return self.scale * (shifted - (self.margin + self.margin * quality))

    def other_logits(self, cosine: Tensor, target_cosine: Tensor) -> Tensor:
        """Scaled cosines of all identities, clamped as in the authors' code."""
        return self.scale * cosine.clamp(-1 + self._EPSILON, 1 - self._EPSILON)

    @torch.no_grad()
    def update_statistics(self, target_cosine: Tensor, feature_norms: Tensor | None) -> None:
        """Move the running mean and standard deviation of the norms towards the batch's, by ``t_alpha``."""
        if feature_norms is None:
            raise ValueError("adaface needs feature_norms; got None")
        norms = feature_norms.clamp(0.001, 100)
        self.mean_norm.lerp_(norms.mean(), self.t_alpha)
        self.std_norm.lerp_(norms.std(), self.t_alpha)


class UniFace(Margin):
    """CosFace with one learned threshold for all pairs. Source: Zhou et al., UniFace, ICCV 2023, equation 9, and code.

    Logits are scale * (cos(theta) - margin) - bias for the target and scale * cos(theta) - bias for other identities.
    Each is a binary decision: the loss of a row is softplus(-target) plus the sum of softplus(other). The bias is
    trained and starts at log(10 * num_identities).
    """

    pairwise = True

    def __init__(
        self, scale: float = 64.0, margin: float = DEFAULT_MARGINS["uniface"], num_identities: int = 10_000
    ) -> None:
        super().__init__(scale)
        self.margin = margin
        self.bias = nn.Parameter(torch.tensor([math.log(10 * num_identities)]))

    def target_logits(self, cosine: Tensor, feature_norms: Tensor | None) -> Tensor:
        """Logits of the targets, shape (B,)."""
        return self.scale * (cosine - self.margin) - self.bias

    def other_logits(self, cosine: Tensor, target_cosine: Tensor) -> Tensor:
        """Scaled cosines of all identities less the bias."""
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
    """A margin by name.

    Args:
        kind: A key of ``MARGINS``.
        parameters: Arguments of its class, by name; others keep the authors' defaults.

    Raises:
        InputError: If the kind or a parameter is unknown.
    """
    if kind not in MARGINS:
        raise InputError(f"margin.kind={kind} is unknown; choose from {', '.join(MARGINS)}")
    known = list(inspect.signature(MARGINS[kind]).parameters)
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise InputError(f"margin.parameters: {kind} does not take {', '.join(unknown)}; it takes {', '.join(known)}")
    return MARGINS[kind](**parameters)
