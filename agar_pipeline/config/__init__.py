"""What a lab sets: typed, checked, and composed here and nowhere else."""

from __future__ import annotations

from agar_pipeline.config.box_policy import (
    ALLOWED_ACTIONS,
    BOX_POLICY_DEFAULTS,
    MENDING,
    Action,
    BoxRule,
    ImageChecks,
    check_box_policy,
    rules_allowing,
)
from agar_pipeline.config.class_map import (
    Spellings,
)
from agar_pipeline.config.compose import (
    load_experiment,
    load_pipeline,
)
from agar_pipeline.config.detectors import (
    DETECTORS,
    find_unknown_name,
    require_weights,
    weights_file,
    weights_of,
)
from agar_pipeline.config.experiment import (
    Accelerator,
    DataConfig,
    EvaluationConfig,
    ExperimentConfig,
    Launcher,
    ModelConfig,
    OptimizerConfig,
    Precision,
    TilesConfig,
    TrainerConfig,
    TrainingConfig,
)
from agar_pipeline.config.file_content import hash_content
from agar_pipeline.config.pipeline import (
    AutoRefresh,
    BboxReportConfig,
    CocoCacheConfig,
    LeaderboardConfig,
    PipelineConfig,
)
from agar_pipeline.config.places import (
    CHECKOUT,
    agar_home,
    configs_dir,
    dagster_postgres_url,
    database_idle_s,
    gpus_per_run,
    max_runs,
    pipeline_name,
    stop_file,
)
from agar_pipeline.config.plain import (
    fingerprinted,
    from_plain,
    to_plain,
)
from agar_pipeline.config.snapshot import CocoSnapshotConfig, ExifPolicy, SnapshotConfig, SnapshotSource
from agar_pipeline.config.split import (
    DRAWN,
    FRACTIONS,
    GIVEN_PART,
    LeakageConfig,
    LeakagePolicy,
    Part,
    SplitConfig,
    SplitMethod,
    hash_list,
)
from agar_pipeline.config.words import names_in, spread

__all__ = [
    "ALLOWED_ACTIONS",
    "BOX_POLICY_DEFAULTS",
    "CHECKOUT",
    "DETECTORS",
    "DRAWN",
    "FRACTIONS",
    "GIVEN_PART",
    "MENDING",
    "Accelerator",
    "Action",
    "AutoRefresh",
    "BboxReportConfig",
    "BoxRule",
    "CocoCacheConfig",
    "CocoSnapshotConfig",
    "DataConfig",
    "EvaluationConfig",
    "ExifPolicy",
    "ExperimentConfig",
    "ImageChecks",
    "Launcher",
    "LeaderboardConfig",
    "LeakageConfig",
    "LeakagePolicy",
    "ModelConfig",
    "OptimizerConfig",
    "Part",
    "PipelineConfig",
    "Precision",
    "SnapshotConfig",
    "SnapshotSource",
    "Spellings",
    "SplitConfig",
    "SplitMethod",
    "TilesConfig",
    "TrainerConfig",
    "TrainingConfig",
    "agar_home",
    "check_box_policy",
    "configs_dir",
    "dagster_postgres_url",
    "database_idle_s",
    "find_unknown_name",
    "fingerprinted",
    "from_plain",
    "gpus_per_run",
    "hash_content",
    "hash_list",
    "load_experiment",
    "load_pipeline",
    "max_runs",
    "names_in",
    "pipeline_name",
    "require_weights",
    "rules_allowing",
    "spread",
    "stop_file",
    "to_plain",
    "weights_file",
    "weights_of",
]
