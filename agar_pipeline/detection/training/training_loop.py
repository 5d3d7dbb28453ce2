"""The order of events in a training: after a step, at the end of an epoch, at the end of the training.

Here: what is called when. Not here: what it does (`schedule`, `validation`, `resume`, `stop_signals`, `tracking`).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import Any

import lightning as L

from agar_pipeline.detection.loading.dataset import DetectionDataset
from agar_pipeline.detection.loading.devices import fit_threads
from agar_pipeline.detection.loading.sampling import TrainBatches
from agar_pipeline.detection.models import ranks
from agar_pipeline.detection.models.detector import Detector
from agar_pipeline.detection.models.weight_averaging import WeightAverage
from agar_pipeline.detection.training.lightning_module import DetectorModule
from agar_pipeline.detection.training.resume import (
    ResumePoints,
    load_optimizer,
    load_precision,
    random_state,
    restore_random_state,
)
from agar_pipeline.detection.training.schedule import Progress
from agar_pipeline.detection.training.stop_signals import StopRequest
from agar_pipeline.detection.training.tracking import MetricsLog
from agar_pipeline.detection.training.validation import Validation
from agar_pipeline.errors import StoppedError
from agar_pipeline.progress import Log, say_duration
from agar_pipeline.text.plurals import plural

LOG_EVERY_S = 3.0
FIT_THREADS_EVERY_S = 15.0


@dataclass(eq=False)
class TrainingLoop(L.Callback):
    """Lightning's only callback."""

    module: DetectorModule
    batches: TrainBatches
    dataset: DetectionDataset
    validation: Validation
    metrics: MetricsLog
    average: WeightAverage | None
    tell: Log = print
    """Receives progress messages. It is not called `log`, because Lightning sets an attribute of that name."""
    points: ResumePoints | None = None
    first_losses: dict[str, float] = field(default_factory=dict)
    _point: dict[str, Any] | None = None
    _val_is_due: bool = False
    """The steps of an epoch, or all steps, are done, but val has not been predicted since."""
    _stop: StopRequest = field(default_factory=StopRequest)
    _told_at: float = 0.0
    _threads_fitted_at: float = -math.inf

    @property
    def progress(self) -> Progress:
        return self.module.progress

    @property
    def detector(self) -> Detector:
        """The detector that is validated and saved: the one with averaged weights, if there is an average."""
        return self.module.detector if self.average is None else self.average.detector

    def resume(self) -> None:
        """Load the newest resume point, if there is one; called before `fit`."""
        if self.points is None:
            return
        self._point = point = self.points.load()
        if point is None:
            if self.points.unreadable:
                self.tell(f"training starts from the beginning: no resume point in {self.points.folder} is complete")
            elif other := self.points.others():
                self.tell(f"training starts from the beginning: the unfinished one has other inputs: {other}")
            return
        self.progress.restore(point["progress"])
        self.module.detector.load_state_dict(point["detector"])
        if self.average is not None:
            self.average.restore(point["average"])
        self.validation.restore(point["validation"])
        self.first_losses, self.module.losses = dict(point["first_losses"]), dict(point["losses"])
        self.metrics.rows = [dict(row) for row in point["rows"]]
        self.metrics.times_s = list(point["times_s"])
        self._place()
        self.tell(f"an interrupted training continues from epoch {self.progress.epoch}, step {self.progress.step}")
        before, now = point.get("resolved"), list(self.validation.resolved)
        if before is not None and before != now:
            self.tell(
                f"it began in {before[1]} on {before[0]} and continues in {now[1]} on {now[0]}: its model is as good, "
                "but not bit for bit that of an uninterrupted training"
            )

    def on_train_start(self, trainer: L.Trainer, module: Any) -> None:
        self._stop.listen()
        if self.average is not None:
            self.average.to(module.device)
        if self._point is not None:
            load_optimizer(trainer.optimizers[0], self._point["optimizer"])
            load_precision(trainer.precision_plugin, self._point["precision"])
            states = self._point["random"]
            restore_random_state(states[trainer.global_rank if len(states) == trainer.world_size else 0])
            self._val_is_due, self._point = bool(self._point.get("val_is_due")), None  # None frees the point's tensors
        self.progress.start()
        if self._val_is_due:  # interrupted before this validation, which decides on early stopping
            self._validate(trainer)
        trainer.should_stop = self.progress.ended or self.validation.out_of_patience

    def on_train_epoch_start(self, trainer: L.Trainer, module: Any) -> None:
        self._place()
        in_a_hurry = self.validation.resolved[0] == "cpu" and self.progress.limits.max_seconds is not None
        if in_a_hurry and time.monotonic() - self._threads_fitted_at > FIT_THREADS_EVERY_S:
            fit_threads()
            self._threads_fitted_at = time.monotonic()

    def _place(self) -> None:
        """Set the dataset and the batches to the current epoch and batch."""
        self.dataset.epoch.fill_(self.progress.epoch)
        self.batches.epoch, self.batches.start = self.progress.epoch, self.progress.batch

    def on_train_batch_end(self, trainer: L.Trainer, module: Any, outputs: Any, batch: Any, batch_index: int) -> None:
        elapsed_s, stop, due = self._agree(epoch_ended=False)
        self.progress.advance(elapsed_s)
        self.first_losses = self.first_losses or dict(module.losses)
        if self.average is not None:
            self.average.update(module.detector)
        if self.progress.step % self.progress.limits.log_every_n_steps == 0:
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            values = {f"train_{name}": value for name, value in ranks.average(module.losses).items()}
            self.metrics.add(self.progress.step, self.progress.last_epoch, {"lr": rate, **values})
        if time.monotonic() - self._told_at > LOG_EVERY_S:
            self._report(trainer)
        if self.progress.ended:
            trainer.should_stop = True
        elif self.progress.batch:  # at the end of an epoch, on_train_epoch_end does this after the validation
            self._save_or_stop(trainer, stop, due)

    def on_train_epoch_end(self, trainer: L.Trainer, module: Any) -> None:
        if self.progress.ended or self.progress.batch:
            return
        if self.progress.epoch % self.progress.limits.val_every_n_epochs == 0:
            self._keep_before_val(trainer)
            self._validate(trainer)
            if self.validation.out_of_patience:
                trainer.should_stop = True
                validations = plural(self.validation.without_better, "validation")
                self.tell(f"training ends early: val map has not risen in {validations}")
        _, stop, due = self._agree(epoch_ended=True)
        self._save_or_stop(trainer, stop, due)

    def on_train_end(self, trainer: L.Trainer, module: Any) -> None:
        if self.validation.last is None or self.validation.last.step != self.progress.step:
            self._keep_before_val(trainer)
            self._validate(trainer)
            _, stop, _ = self._agree(epoch_ended=True)
            self._save_or_stop(trainer, stop, due=False)
        self._stop.close()
        self.validation.finish(self.detector, self.progress)

    def on_exception(self, trainer: L.Trainer, module: Any, exception: BaseException) -> None:
        self._stop.close()

    def _keep_before_val(self, trainer: L.Trainer) -> None:
        """Write a resume point before val is predicted, unless the validation is known to be quick; stop here if asked
        to.

        A training that resumes from this point predicts val first.
        """
        self._val_is_due = True
        due = self.points is not None and not self.validation.is_quick
        _, stop, due = ranks.agree(self.progress.elapsed_s, self._stop.asked, due)
        self._save_or_stop(trainer, stop, due)

    def _validate(self, trainer: L.Trainer) -> None:
        facts = self.validation.run(self.detector, self.progress)
        self._val_is_due = False
        self.module.train()
        if self.validation.unscored:
            self.tell(f"val has no score: {self.validation.unscored}")
        self.metrics.add(facts.step, facts.epoch, {f"val_{name}": value for name, value in facts.metrics.items()})
        self._report(trainer)

    def _agree(self, *, epoch_ended: bool) -> tuple[float, bool, bool]:
        due = self.points is not None and self.points.is_due(epoch_ended=epoch_ended)
        return ranks.agree(self.progress.elapsed_s, self._stop.asked, due)

    def _save_or_stop(self, trainer: L.Trainer, stop: bool, due: bool) -> None:
        if self.points is not None and (stop or due):
            content = self._make_point(trainer)
            if trainer.is_global_zero:
                self.points.save(content)
        if stop:
            where = f"epoch {self.progress.epoch}, step {self.progress.step}"
            if self.points:
                raise StoppedError(
                    f"training was asked to stop, and stopped at {where}",
                    next_step="run the same command again, it continues from there",
                )
            raise StoppedError(
                f"training was asked to stop, and stopped at {where}; nothing of it was kept",
                next_step="run the same command again, it starts from the beginning",
            )

    def _make_point(self, trainer: L.Trainer) -> dict[str, Any]:
        """Everything that the next steps depend on. All ranks must call this."""
        return {
            "progress": self.progress.state(),
            "detector": self.module.detector.state_dict(),
            "average": None if self.average is None else self.average.state(),
            "resolved": list(self.validation.resolved),
            "optimizer": trainer.optimizers[0].state_dict(),
            "precision": trainer.precision_plugin.state_dict(),
            "random": ranks.gather(random_state()),
            "validation": self.validation.state(),
            "val_is_due": self._val_is_due,
            "first_losses": self.first_losses,
            "losses": self.module.losses,
            "rows": self.metrics.rows,
            "times_s": self.metrics.times_s,
        }

    def _report(self, trainer: L.Trainer) -> None:
        self._told_at = time.monotonic()
        if not trainer.is_global_zero:
            return
        words = [f"epoch {self.progress.last_epoch}", f"step {self.progress.step:,}{self.progress.steps_in_all}"]
        words.append(f"loss {self.module.losses['loss']:.2f}")
        last = self.validation.last
        if last is not None and last.metrics["map_50"] is not None:
            words.append(f"val map_50 {last.metrics['map_50']:.2f}")
        words.append(f"{say_duration(self.progress.left_s)} left")
        self.tell(" · ".join(words))
