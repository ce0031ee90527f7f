"""Learning rate schedules: step drops as in the reference, or polynomial decay, after a linear warm-up."""

from bench.config.recipe import Schedule


def lr_at(step: int, *, steps_per_epoch: int, base_lr: float, schedule: Schedule) -> float:
    """Learning rate of one step.

    The warm-up rises linearly from 0. After it, kind ``step`` multiplies the rate by ``drop_factor`` when each of
    ``drop_epochs`` starts; the first epoch is 1. As in the reference (docs/field.md, section 1.9), drops at 12, 20 and
    24 of 26 epochs give 11, 8, 4 and 3 epochs at each rate. Kind ``polynomial`` multiplies the rate by
    ``(1 - progress) ** power``.

    Args:
        step: Number of the step in the run, 0 first.
        steps_per_epoch: Steps per epoch.
        base_lr: Learning rate after the warm-up.
        schedule: Warm-up, kind and its parameters.
    """
    epoch = step / steps_per_epoch
    if epoch < schedule.warmup_epochs:
        return base_lr * (epoch + 1 / steps_per_epoch) / (schedule.warmup_epochs + 1 / steps_per_epoch)
    if schedule.kind == "step":
        return base_lr * schedule.drop_factor ** sum(epoch + 1 >= drop for drop in schedule.drop_epochs)
    progress = (epoch - schedule.warmup_epochs) / (schedule.epochs - schedule.warmup_epochs)
    return base_lr * (1 - progress) ** schedule.power
