"""What a lab sets: typed, checked, and composed here and nowhere else."""

from __future__ import annotations

from agar_pipeline.config.compose import (
    load_experiment,
    load_pipeline,
    names_in,
)
from agar_pipeline.config.experiment import (
    Accelerator,
    DataConfig,
    EvaluationConfig,
    ExperimentConfig,
    ModelConfig,
    OptimizerConfig,
    Precision,
    TrainerConfig,
    TrainingConfig,
)
from agar_pipeline.config.pipeline import (
    BOX_POLICY_DEFAULTS,
    DROPPABLE_RULES,
    AutoRefresh,
    BboxReportConfig,
    BoxRule,
    CocoCacheConfig,
    LeaderboardConfig,
    Part,
    PipelineConfig,
    SnapshotConfig,
    SplitConfig,
)
from agar_pipeline.config.places import (
    CHECKOUT,
    agar_home,
    configs_dir,
    pipeline_name,
)
from agar_pipeline.config.plain import (
    fingerprinted,
    from_plain,
    to_plain,
)

__all__ = [
    "BOX_POLICY_DEFAULTS",
    "CHECKOUT",
    "DROPPABLE_RULES",
    "Accelerator",
    "AutoRefresh",
    "BboxReportConfig",
    "BoxRule",
    "CocoCacheConfig",
    "DataConfig",
    "EvaluationConfig",
    "ExperimentConfig",
    "LeaderboardConfig",
    "ModelConfig",
    "OptimizerConfig",
    "Part",
    "PipelineConfig",
    "Precision",
    "SnapshotConfig",
    "SplitConfig",
    "TrainerConfig",
    "TrainingConfig",
    "agar_home",
    "configs_dir",
    "fingerprinted",
    "from_plain",
    "load_experiment",
    "load_pipeline",
    "names_in",
    "pipeline_name",
    "to_plain",
]
