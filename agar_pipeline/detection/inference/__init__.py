"""A trained model asked: photos in, detections out.

`batches`: from batches to detections. `predict`: the images of a COCO file. `photo_folder`: the photos of any folder.
`onnx_model`, `export_onnx`: the same without torch.
"""
