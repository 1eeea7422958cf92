"""Shows the progress of a training to a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imgstream.progress import display, duration, error_console, is_watched
from imgstream.wording import quantity

if TYPE_CHECKING:
    from imgstream.training.loop import Status


class TrainingProgress:
    """One live line for the steps, and a permanent line for each validation. It is a Report for the TrainingLoop."""

    def __init__(self, shown: bool | None = None) -> None:
        """`shown`: None shows it on a terminal or in a notebook; False never; True everywhere."""
        self._console = error_console()
        self._line = display(self._console, shown)
        self._keeps = is_watched(self._console) if shown is None else shown

    def __enter__(self) -> TrainingProgress:
        self._line.show("Starting: building and compiling the model …")
        return self

    def __exit__(self, *_: object) -> None:
        self._line.close()

    def scanned(self, files: int) -> None:
        """Show how many images have been found so far."""
        self._line.show(f"Listing images: {files:,}")

    def embedded(self, images: int) -> None:
        """Show for how many images the features have been computed."""
        self._line.show(f"Features for the head: {quantity(images, 'image')}")

    def waiting(self, what: str) -> None:
        """Show what is being done now, and takes long."""
        self._line.show(f"{what[:1].upper()}{what[1:]} …")

    def notice(self, text: str) -> None:
        """Print a permanent line."""
        if self._keeps:
            self._console.print(text, markup=False, soft_wrap=True)

    def __call__(self, status: Status) -> None:
        """Show `status`."""
        if status.validation is not None:
            result = status.validation
            figures = "   ".join(f"{name} {value:.4f}" for name, value in result.figures.items())
            self.notice(
                f"epoch {status.epoch:>3}   loss {status.loss:.4f}   accuracy {status.accuracy:.4f}   validation: "
                f"loss {result.loss:.4f}   {figures}   {status.images_per_second:,.0f} images/s"
            )
            return
        of = f"/{status.epochs}" if status.epochs else ""
        steps = f"{status.step:,}/{status.last_step:,}"
        left = f", {duration(status.seconds_left)} left" if status.seconds_left is not None else ""
        skipped = f", {status.skipped:,} skipped" if status.skipped else ""
        self._line.show(
            f"epoch {status.epoch + 1}{of}, step {steps}, loss {status.loss:.4f}, accuracy {status.accuracy:.4f}, "
            f"{status.images_per_second:,.0f} images/s{left}{skipped}"
        )
