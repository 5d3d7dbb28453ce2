"""The driver process of a training on Ray; started by `launch`."""

from agar_pipeline.cluster.training import train_on_ray
from agar_pipeline.processes.child import child_main

if __name__ == "__main__":
    child_main(train_on_ray)
