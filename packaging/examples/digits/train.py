"""Makes the demo's real input and real model from the 1,797 handwritten digits that ship inside scikit-learn.

Usage: python train.py FOLDER (with the user's interpreter, see requirements-demo.lock). Writes

    FOLDER/deployment/           a copy of this example, with the trained model in model/
    FOLDER/input/digit-NNNN.png  the half of the images that the model has not seen
    FOLDER/labels.csv            the true label of each of them
"""

from __future__ import annotations

import csv
import shutil
import sys
from pathlib import Path

import joblib
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.model_selection import train_test_split


def main(folder: Path) -> None:
    images, labels = load_digits(return_X_y=True)
    # Stored as PNG, pixels are bytes: the model learns from what the script will read.
    pixels = np.rint(images * (255 / 16)).astype(np.uint8)
    seen, unseen = train_test_split(np.arange(len(labels)), test_size=0.5, random_state=0, stratify=labels)
    seen, unseen = np.sort(seen), np.sort(unseen)

    forest = ExtraTreesClassifier(n_estimators=100, random_state=0, n_jobs=1)
    forest.fit(pixels[seen] / 255.0, labels[seen])

    deployment = folder / "deployment"
    shutil.copytree(Path(__file__).resolve().parent, deployment, ignore=shutil.ignore_patterns("__pycache__"))
    (deployment / "model").mkdir()
    joblib.dump(forest, deployment / "model" / "forest.joblib")

    (folder / "input").mkdir()
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["name", "label"])
        for number in unseen:
            name = f"digit-{number:04d}.png"
            Image.fromarray(pixels[number].reshape(8, 8)).save(folder / "input" / name)
            rows.writerow([name, int(labels[number])])
    print(f"{len(labels)} images: trained on {len(seen)}, {len(unseen)} written to be scored")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
