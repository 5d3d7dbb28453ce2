"""One training, from a COCO cache to checkpoints.

`schedule`: progress of the training, and the learning rate. `determinism`: whether a training is repeatable bit for
bit. `stop_signals`: requests to stop. `lightning_module`: one optimizer step. `validation`: evaluation on val at the
end of an epoch. `resume`: resume points of an interrupted training. `tracking`: loggers. `training_loop`: the order of
events in a training. `lightning_trainer`: configuration of Lightning's Trainer. `out_of_memory`: what to do when
memory ran out. `train`: assembly of all these parts. `round_trip`: whether a model predicts the same after
it was saved and loaded. `profile`: how long the parts of a step take. `bottleneck`: which
part of a step limits the speed.
"""
