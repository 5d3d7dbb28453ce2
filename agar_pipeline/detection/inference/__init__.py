"""Prediction with a trained model: photos in, detections out.

`batches`: from batches to detections. `predict`: from a checkpoint, for the images of a COCO file. `photo_folder`: the
photos of any folder. `export_onnx`: writes a model as an ONNX file. `onnx_model`: prediction from that file without
torch.
"""
