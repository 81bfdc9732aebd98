"""Nearest centroid: all points of the mini-batch become one array, one prediction, a list of lines."""

from __future__ import annotations

import os

import numpy as np


def init():
    global centroids
    path = os.path.join(os.environ["AZUREML_MODEL_DIR"], "centroids.csv")
    centroids = np.loadtxt(path, delimiter=",")


def run(mini_batch):
    points = np.stack([np.loadtxt(path, delimiter=",") for path in mini_batch])
    distances = np.linalg.norm(points[:, None, :] - centroids[None, :, :], axis=2)
    nearest = distances.argmin(axis=1)
    names = [os.path.basename(path) for path in mini_batch]
    return [f"{name}: {index}" for name, index in zip(names, nearest)]
