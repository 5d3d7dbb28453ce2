"""The settings of a pipeline and of an experiment: composed from files, checked, and turned into typed dataclasses.

This is the only folder that composes configs (with Hydra). It re-exports the names that other folders use.
"""

from __future__ import annotations

from agar_pipeline.config.box_policy import (
    ALLOWED_ACTIONS,
    BOX_POLICY_DEFAULTS,
    MAX_FLAWED_SHARE,
    MENDING,
    MIN_BOX_SIDE_PX,
    Action,
    BoxRule,
    ImageChecks,
    UnlabelledPolicy,
    check_box_policy,
    rules_allowing,
)
from agar_pipeline.config.class_map import LabelMatch, Spellings, class_map_of, is_blank, spelling_of, tell_alike
from agar_pipeline.config.coco_cache import CocoCacheConfig
from agar_pipeline.config.counting import CountingConfig
from agar_pipeline.config.data import DataConfig, TilesConfig
from agar_pipeline.config.database_address import database_address, database_variables
from agar_pipeline.config.detectors import (
    DETECTORS,
    DetectorRow,
    backbone_weights_of,
    find_unknown_name,
    require_weights,
    weights_file,
    weights_of,
)
from agar_pipeline.config.experiment import (
    EvaluationConfig,
    ExperimentConfig,
    LabelReviewConfig,
    ReviewConfig,
    ScoringConfig,
    TrainingConfig,
)
from agar_pipeline.config.file_content import hash_content
from agar_pipeline.config.fingerprinted import fingerprinted
from agar_pipeline.config.load_configs import load_experiment, load_pipeline
from agar_pipeline.config.model import ModelConfig
from agar_pipeline.config.optimizer import OptimizerConfig
from agar_pipeline.config.overrides import names_in, spread
from agar_pipeline.config.pipeline import AutoRefresh, BboxReportConfig, LeaderboardConfig, PipelineConfig
from agar_pipeline.config.places import (
    CHECKOUT,
    HOME_LINK,
    PACKAGED,
    PROJECT,
    PROJECT_MARKER,
    agar_home,
    configs_dir,
    dagster_postgres_url,
    database_idle_s,
    default_home,
    gpus_per_run,
    max_runs,
    own_configs_dir,
    pipeline_name,
    stop_file,
)
from agar_pipeline.config.plain_values import from_plain, to_plain
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
from agar_pipeline.config.timm_backbones import require_backbone
from agar_pipeline.config.trainer import Accelerator, Launcher, Precision, TrainerConfig
