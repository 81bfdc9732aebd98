"""O1: the script writes its own files; a deployment with summary_only keeps no predictions."""

from __future__ import annotations

import pandas as pd

from tests.e2e.azure.deployments import Deployment, names
from tests.e2e.driver import Job

PARQUET = """
    import os
    from pathlib import Path
    import pandas as pd

    def init():
        global OUTPUT
        OUTPUT = os.environ["AZUREML_BI_OUTPUT_PATH"]

    def run(mini_batch):
        for path in mini_batch:
            frame = pd.read_csv(path)
            frame["twice"] = frame["n"] * 2
            frame.to_parquet(os.path.join(OUTPUT, Path(path).stem + ".parquet"))
        return mini_batch
"""


def test_o1_one_parquet_file_per_input_and_no_predictions(job: Job) -> None:
    deployment = Deployment(
        job, PARQUET, mini_batch_size=3, max_concurrency_per_instance=4, output_action="summary_only"
    )
    stems = names(20)
    for number, stem in enumerate(stems):
        (job.inputs / f"{stem}.csv").write_text(f"n\n{number}\n{number + 100}\n")
    deployment.run().expect(0)
    published = {path.name for path in job.out.path.iterdir()}
    assert published == {".batchctl"} | {f"{stem}.parquet" for stem in stems}
    for number, stem in enumerate(stems):
        assert pd.read_parquet(job.out.path / f"{stem}.parquet")["twice"].tolist() == [2 * number, 2 * number + 200]
    assert deployment.counts("items_succeeded", "items_failed", "rows", "workers", "output") == (20, 0, 0, 4, "")
    job.batchctl("verify", "out").expect(0)
