"""Accuracy: mAP and CMC, agreement of cameras, calibration, pictures of ranked lists."""
