"""What of a run may be set beside a number of the paper: the names an experiment's `about.measure` may hold.

Pure: imports nothing, so that the spec can check a name and the analysis can print it. `analysis.measured` measures.
"""

from __future__ import annotations

MEASURES: dict[str, str] = {
    "epochs": "Kaplan-Meier median of the epochs to the goal, a method.",
    "flops": "Kaplan-Meier median of the FLOPs to the goal, a method.",
    "seconds": "Kaplan-Meier median of the seconds of training to the goal, a method.",
    "seconds_per_epoch": "Median of train_seconds over epochs run, a method and of the weak model.",
    "flops_per_epoch": "Median of the FLOPs over epochs run, a method and of the weak model.",
    "time_gap": "Median of epoch_val_95 - epoch_train_95, those that never got there counted as long, a method.",
    "test_accuracy": "Median test accuracy at the measured point, a method.",
    "final_accuracy": "Median validation accuracy at the last epoch run, a method and of the weak model.",
    "best_accuracy": "Median of the best validation accuracy, a method and of the weak model.",
    "weak_accuracy": "Median accuracy of the weak model whose embedding was handed over, over report pipelines.",
    "stayed": "How many of those that reached the goal were still there at twice that epoch, a method.",
}
"""Name -> what it is. Beside these, `probe:NAME` is the median of the last value of that probe number."""

PROBE = "probe:"
"""What a measure that is a probe's number starts with; the number's name follows."""
