"""One training, from the COCO cache to checkpoints.

`schedule`: how far training is, and the learning rate. `determinism`: whether it can be repeated bit for bit.
`stop_signals`: how it is asked to stop. `lightning_module`: one step. `validation`: val at the end of an epoch.
`resume`: the point to go on from. `tracking`: loggers. `training_loop`: what happens when. `lightning_trainer`:
Lightning set up. `train`: the whole. `profile`: where the time of a step goes. `bottleneck`: which part of it limits
the speed.
"""
