"""The learning rate of a step."""

from bench.config.recipe import Schedule


def lr_at(step: int, *, steps_per_epoch: int, base_lr: float, schedule: Schedule) -> float:
    """Learning rate of step ``step`` (0 = first).

    Kind ``step``: multiplied by ``drop_factor`` as each of ``drop_epochs`` (1 = first epoch) starts, as the reference
    does: drops 12, 20, 24 of 26 epochs leave 11, 8, 4 and 3 epochs at each rate. Kind ``polynomial``:
    ``(1 - progress) ** power`` after the warm-up. Warm-up is linear from 0.
    """
    epoch = step / steps_per_epoch
    if epoch < schedule.warmup_epochs:
        return base_lr * (epoch + 1 / steps_per_epoch) / (schedule.warmup_epochs + 1 / steps_per_epoch)
    if schedule.kind == "step":
        return base_lr * schedule.drop_factor ** sum(epoch + 1 >= drop for drop in schedule.drop_epochs)
    progress = (epoch - schedule.warmup_epochs) / (schedule.epochs - schedule.warmup_epochs)
    return base_lr * (1 - progress) ** schedule.power
