"""What `imgstream train --dry-run` says."""

from __future__ import annotations

from imgstream.progress import duration
from imgstream.terminal.tables import printable
from imgstream.training import DryRun
from imgstream.wording import quantity

_MOST_CLASSES = 10


def plan_lines(plan: DryRun) -> list[str]:
    """The plan of a training, line by line, for people."""
    classes = ", ".join(f"{printable(name)} {count:,}" for name, count in list(plan.classes.items())[:_MOST_CLASSES])
    more = f" and {len(plan.classes) - _MOST_CLASSES:,} more" if len(plan.classes) > _MOST_CLASSES else ""
    height, width = plan.size
    first = f"{plan.first_size[0]}x{plan.first_size[1]} for {100 * plan.first_share:.0f} % of the work, then " if plan.first_size else ""
    begins = "new weights" if plan.weights == "none" else f"the weights {printable(plan.weights)}"
    if plan.head_only:
        work = "Its head alone"
    else:
        batch = plan.split.train // plan.memory.batch_size or 1
        passes = (
            quantity(plan.epochs, "epoch")
            if plan.epochs is not None
            else f"about {plan.steps / batch:,.1f} epochs in {plan.minutes:g} minutes"
        )
        work = f"{passes}, {quantity(plan.steps, 'step')} of {plan.step_seconds:.3g} s at the full size"
    levels = "" if plan.levels is None else f", black {plan.levels[0]:g}, white {plan.levels[1]:g}"
    taught = f"; it learns from {printable(plan.teacher)} too" if plan.teacher else ""
    begun = "a new run" if plan.resumed_from_step is None else f"the run that is there goes on from step {plan.resumed_from_step:,}"
    augmentation = printable(plan.augment.get("name") or plan.augment["kind"])
    if plan.augment_on == "device":
        augmentation += ", on the device"
    return [
        f"Model: {printable(plan.model)}, {plan.parameters:,} parameters, from {begins}; precision {plan.precision}{taught}",
        f"Classes: {len(plan.classes):,}: {classes}{more}",
        printable(str(plan.split)),
        f"Samples: {first}{height}x{width}{levels}; augmentation: {augmentation}",
        f"Pipeline: {plan.pipeline} ({plan.pipeline_why})",
        f"Memory: {plan.memory}",
        f"Training: {work}; about {duration(plan.seconds)} in all",
        f"Run: {printable(plan.run)}, {begun}. Nothing was written",
    ]
