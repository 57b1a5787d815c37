"""Accuracy: rankings, CMC and mAP, agreement, calibration, pictures of ranked lists."""
