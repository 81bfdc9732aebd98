"""What a deployment's script sees of the world: arguments, variables, folders, modules, GPUs (P1-P5, G1, S20).

Each script tells what it finds in its rows, or in a file that TOLD names.
"""

from __future__ import annotations

import json
import signal
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.driver import Job, wait_for

# One line of a file per call, whoever writes at the same time.
TELL = """
import json, os, sys
def tell(*facts):
    line = (json.dumps(facts) + "\\n").encode()
    fd = os.open(os.environ["TOLD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(fd, line)
    os.close(fd)
def told():
    with open(os.environ["TOLD"]) as file:
        return [json.loads(line) for line in file]
"""


class Deployment:
    """A deployment.yml in deploy/, its code in deploy/src, one item per mini-batch, one worker unless said."""

    def __init__(self, job: Job, script: str, *, name: str = "score.py", model: str = "", **settings: Any) -> None:
        self.job = job
        self.told_at = job.folder / "told"
        variables = {"TOLD": str(self.told_at), **settings.pop("environment_variables", {})}
        settings = {"mini_batch_size": 1, "max_concurrency_per_instance": 1, **settings}
        settings["environment_variables"] = variables
        lines = [
            "name: view",
            "type: model",
            *([f"model: {{path: {model}}}"] if model else []),
            f"code_configuration: {{code: src, scoring_script: {name}}}",
            f"settings: {json.dumps(settings)}",
        ]
        job.write("deploy/deployment.yml", "\n".join(lines))
        job.write("deploy/src/telling.py", TELL)
        self.script = job.write(f"deploy/src/{name}", textwrap.dedent(script))

    def run(self, *flags: str | Path, code: int = 0, **given: Any) -> list[str]:
        """The rows of a run that ends with `code`."""
        self.job.batchctl("run", "deploy/deployment.yml", "in", "-o", "out", *flags, **given).expect(code)
        return self.job.out.predictions.decode().splitlines() if code == 0 else []

    def told(self) -> list[Any]:
        """What the workers told so far, in order."""
        text = self.told_at.read_text() if self.told_at.exists() else ""
        return [json.loads(line) for line in text.splitlines()]


# --- P1: arguments ----------------------------------------------------------------------------------------------------

ARGUMENTS = """
    import argparse, json, os, sys

    def init():
        global found
        parser = argparse.ArgumentParser()
        parser.add_argument("--logging_level")
        for name in ("mini_batch_size", "error_threshold", "run_invocation_timeout", "run_max_try"):
            parser.add_argument("--" + name, type=int)
        parser.add_argument("--process_count_per_node", type=int)
        for name in ("output", "output_action", "append_row_file_name", "scoring_module_name"):
            parser.add_argument("--" + name)
        known, rest = parser.parse_known_args()
        found = vars(known)
        found["logging_level"] = found["logging_level"].upper()
        assert sys.argv[0] == os.path.abspath(__file__)
        assert found.pop("output") == os.environ["AZUREML_BI_OUTPUT_PATH"]
        assert "--client_sdk_version" in rest

    def run(mini_batch):
        return [json.dumps(found, sort_keys=True) for path in mini_batch]
"""


def test_p1_the_drivers_arguments(job: Job) -> None:
    deployment = Deployment(
        job,
        ARGUMENTS,
        mini_batch_size=7,
        max_concurrency_per_instance=2,
        error_threshold=5,
        retry_settings={"max_retries": 2, "timeout": 45},
        output_file_name="rows.csv",
        logging_level="warning",
    )
    job.items(1)
    job.batchctl("run", "deploy/deployment.yml", "in", "-o", "out").expect(0)
    (row,) = (job.out.path / "rows.csv").read_text().splitlines()
    assert json.loads(row) == {
        "append_row_file_name": "rows.csv",
        "error_threshold": 5,
        "logging_level": "WARNING",
        "mini_batch_size": 7,
        "output_action": "append_row",
        "process_count_per_node": 2,
        "run_invocation_timeout": 45,
        "run_max_try": 3,
        "scoring_module_name": "score.py",
    }
    assert deployment.told() == []


def test_p1_unknown_arguments_of_the_users_reach_parse_known_args(job: Job) -> None:
    script = "import json, sys\ndef run(b): return [json.dumps(sys.argv)]\n"
    job.write("code/score.py", script)
    job.write("batchctl.toml", 'script = "code/score.py"\ninput = "in"\narguments = ["--mine", "", "two words"]\n')
    job.items(1)
    job.batchctl("run", "batchctl.toml", "-o", "out", "--output-format", "azure").expect(0)
    found = json.loads(job.out.predictions)
    assert found == [str(job.code / "score.py"), "--logging_level", "INFO", "--mine", "", "two words"]


def test_p1_what_is_written_to_output_is_published(job: Job) -> None:
    script = """
        import os, sys
        def run(mini_batch):
            folder = sys.argv[sys.argv.index("--output") + 1]
            for path in mini_batch:
                with open(os.path.join(folder, os.path.basename(path) + ".out"), "w") as file:
                    file.write("made")
            return mini_batch
    """
    deployment = Deployment(job, script, output_action="summary_only")
    job.items(2)
    job.batchctl("run", "deploy/deployment.yml", "in", "-o", "out").expect(0)
    names = sorted(path.name for path in job.out.path.iterdir())
    assert names == [".batchctl", "item000.txt.out", "item001.txt.out"]
    assert deployment.told() == []


# --- P2: the model ----------------------------------------------------------------------------------------------------

MODEL = """
    import glob, os, pathlib
    def init():
        global found
        folder = os.environ["AZUREML_MODEL_DIR"]
        (name,) = os.listdir(folder)
        ways = {
            "join": os.path.join(folder, os.environ["EXPECTED"], *os.environ["BELOW"].split()),
            "glob": glob.glob(folder + "/*/*.pt")[-1] if os.environ["BELOW"] else glob.glob(folder + "/*.pt")[-1],
            "walk": [at + "/" + file for at, _, files in os.walk(folder) for file in files if file.endswith(".pt")][0],
            "rglob": str(next(pathlib.Path(folder).rglob("*.pt"))),
        }
        if os.environ["BELOW"]:
            ways["only folder"] = os.path.join(glob.glob(folder + "/*/")[0], "w.pt")
        found = [name] + [way + "=" + open(path).read() for way, path in ways.items()]
    def run(mini_batch):
        return found
"""


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("models/mnist", "mnist"),
        ("models/mnist/", "mnist"),
        ("./models/../models/.//mnist/.", "mnist"),
        ("../m/./x", "x"),
        ("../m/x/y/..", "x"),
        ("../link", "link"),
        ("models/w.pt", "w.pt"),
        ("../m/x/../../deploy/models/w.pt", "w.pt"),
    ],
)
def test_p2_the_model_is_found_in_every_usual_way(job: Job, path: str, name: str) -> None:
    below = "" if name.endswith(".pt") else "w.pt"
    deployment = Deployment(job, MODEL, model=path, environment_variables={"EXPECTED": name, "BELOW": below})
    for place in ("deploy/models/mnist/w.pt", "deploy/models/w.pt", "m/x/w.pt"):
        job.write(place, "weights")
    (job.folder / "m/x/y").mkdir()
    (job.folder / "link").symlink_to("m/x")
    job.write("deploy/models/sibling/no.txt", "not part of the model")
    job.items(1)
    ways = ["join", "glob", "walk", "rglob"] + ["only folder"] * bool(below)
    assert deployment.run() == [name, *(f"{way}=weights" for way in ways)]


def test_p2_a_model_folder_that_holds_out_and_inputs(job: Job) -> None:
    """`path: .`: OUT is no part of the model, and neither rows nor another input are a change of it."""
    script = """
        import os
        from telling import tell
        def init():
            tell(*sorted(os.listdir(os.path.join(os.environ["AZUREML_MODEL_DIR"], "deploy"))))
        def run(mini_batch):
            return mini_batch
    """
    deployment = Deployment(job, script, model=".")
    job.write("deploy/in/a.txt", "a")
    command = ("run", "deploy/deployment.yml", "deploy/in", "-o")
    job.batchctl(*command, "deploy/out").expect(0)
    assert deployment.told() == [["deployment.yml", "in", "src"]]
    job.write("deploy/in/b.txt", "b")
    job.batchctl(*command, "deploy/out").expect(0)
    job.items(1)
    job.batchctl("run", "deploy/deployment.yml", "in", "-o", "deploy").expect(2).names(
        "the model's folder is the output"
    )


def test_p2_code_beside_the_model_leaves_the_model_alone(job: Job) -> None:
    """Byte code written into the model would change it, and no run could be resumed."""
    script = """
        import glob, os, sys
        sys.path.insert(0, os.path.join(os.environ["AZUREML_MODEL_DIR"], "m"))
        import beside
        def run(mini_batch):
            return [beside.VALUE for path in mini_batch]
    """
    deployment = Deployment(job, script, model="../m")
    job.write("m/beside.py", "VALUE = 'found'\n")
    job.items(1)
    assert deployment.run() == ["found"]
    assert [path.name for path in (job.folder / "m").rglob("*")] == ["beside.py"]
    assert deployment.run() == ["found"]


# --- P3: imports, folders, logging ------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "module"), [("score.py", "score"), ("deep/er/score.py", "deep.er.score")])
def test_p3_imports_and_folders(job: Job, name: str, module: str) -> None:
    script = """
        import json, os, sys
        import helper
        from beside import VALUE
        MADE = []
        def init():
            with open("scratch", "w") as file:
                file.write("mine")
        def run(mini_batch):
            MADE.append(mini_batch)
            facts = [__name__, __file__, helper.VALUE, VALUE, os.getcwd(), os.listdir("."), type(mini_batch).__name__]
            facts += [[type(path).__name__ for path in mini_batch], [os.path.isabs(path) for path in mini_batch]]
            mini_batch.clear()
            return [json.dumps(facts)]
    """
    deployment = Deployment(job, script, name=name)
    job.write("deploy/src/helper.py", "VALUE = 'in code'\n")
    (deployment.script.parent / "beside.py").write_text("VALUE = 'beside'\n")
    job.items(2)
    found = [json.loads(row) for row in deployment.run("--workers", "2")]
    code = job.folder / "deploy/src"
    assert len(found) == 2
    for name_, file, in_code, beside, cwd, listed, kind, kinds, absolute in found:
        assert (name_, file, in_code, beside) == (module, str(deployment.script), "in code", "beside")
        assert (listed, kind, kinds, absolute) == (["scratch"], "list", ["str"], [True])
        for place in (code, job.inputs, job.folder):
            assert Path(cwd) != place
        assert Path(cwd).is_relative_to(job.out.run_directory)
    assert not list(job.folder.rglob("scratch"))


def test_p3_entry_script(job: Job) -> None:
    script = """
        import os
        from azureml_user.parallel_run import EntryScript
        def init():
            entry = EntryScript()
            entry.logger.info("hello from %s", entry.agent_name)
            with open(os.path.join(entry.log_dir, entry.agent_name + ".txt"), "a") as file:
                file.write("kept")
            assert entry is EntryScript()
            assert entry.output_dir == os.environ["AZUREML_BI_OUTPUT_PATH"]
            assert entry.working_dir == os.getcwd()
            assert entry.dir == os.path.dirname(__file__)
        def run(mini_batch):
            return [EntryScript().agent_name for path in mini_batch]
    """
    deployment = Deployment(job, script)
    job.items(1)
    job.batchctl("check", "deploy/deployment.yml").expect(0)
    assert deployment.run() == ["process000"]
    assert (job.out.run_directory / "logs/user/process000.txt").read_text() == "kept"
    assert "hello from process000" in logs(job)
    assert [path.name for path in job.out.path.iterdir() if path.name != ".batchctl"] == ["predictions.csv"]


def logs(job: Job) -> str:
    return "".join(path.read_bytes().decode() for path in sorted((job.out.run_directory / "logs").glob("worker-*.log")))


def test_p3_the_root_logger_writes_to_the_workers_log(job: Job) -> None:
    script = """
        import logging, os, sys
        def init():
            logging.info("an info of init")
            logging.getLogger("mine").debug("too fine")
            print("to stdout")
            print("to stderr", file=sys.stderr)
            os.system("echo from a child")
        def run(mini_batch):
            logging.warning("a warning of run")
            return mini_batch
    """
    deployment = Deployment(job, script)
    job.items(1)
    deployment.run()
    said = logs(job)
    for text in ("an info of init", "to stdout", "to stderr", "from a child", "a warning of run"):
        assert text in said
    assert "too fine" not in said


# --- P4: the context --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signature", "context"),
    [
        ("mini_batch, mini_batch_context", "mini_batch_context"),
        ("*args", "args[1]"),
        ("mini_batch, ctx=None", "ctx"),
        ("data, anything", "anything"),
    ],
)
def test_p4_the_context_is_passed_by_position(job: Job, signature: str, context: str) -> None:
    script = f"def run({signature}):\n    return ['%d' % {context}.minibatch_index]\n"
    deployment = Deployment(job, script)
    job.items(3)
    assert deployment.run() == ["0", "1", "2"]


# --- P5: shutdown -----------------------------------------------------------------------------------------------------


def test_p5_shutdown_once_per_live_worker_and_never_after_a_kill(job: Job) -> None:
    script = """
        import os, signal, time
        from telling import tell, told
        def init():
            tell("init", os.getpid())
        def run(mini_batch):
            while mini_batch[0].endswith("item007.txt") and len([1 for what, _ in told() if what == "killed"]) < 2:
                time.sleep(0.005)  # this worker shall live to the end
            if mini_batch[0].endswith("item003.txt"):
                tell("killed", os.getpid())
                os.kill(os.getpid(), signal.SIGKILL)
            if mini_batch[0].endswith("item007.txt"):
                tell("last", os.getpid())
            return mini_batch
        def shutdown():
            tell("shutdown", os.getpid())
    """
    deployment = Deployment(job, script, max_concurrency_per_instance=2, retry_settings={"max_retries": 1})
    job.items(8)
    assert len(deployment.run()) == 7
    told = deployment.told()
    began = [pid for what, pid in told if what == "init"]
    killed = [pid for what, pid in told if what == "killed"]
    ended = [pid for what, pid in told if what == "shutdown"]
    (last,) = {pid for what, pid in told if what == "last"}
    assert len(killed) == 2
    assert len(began) == len(set(began))
    assert len(ended) == len(set(ended))
    # The successor of the last one that was killed may still be starting when all is done: then it just ends.
    assert {last} <= set(ended) <= set(began) - set(killed)


# --- variables --------------------------------------------------------------------------------------------------------

VARIABLES = """
    import json, os, time
    NAMES = ["AZUREML_RUN_ID", "AZUREML_NODE_COUNT", "AZ_BATCHAI_GPU_COUNT_FOUND", "PYTHONFAULTHANDLER"]
    def run(mini_batch):
        if mini_batch[0] >= os.environ["GATE_AT"]:
            open(os.environ["GATE"] + ".reached", "w").close()
            while not os.path.exists(os.environ["GATE"]):
                time.sleep(0.005)
        return [json.dumps([os.environ.get(name) for name in NAMES]) for path in mini_batch]
"""


def test_environment_of_azure_is_the_same_after_a_resume(job: Job) -> None:
    gate = job.folder / "gate"
    variables = {"GATE": str(gate), "GATE_AT": str(job.inputs / "item002.txt"), "PYTHONFAULTHANDLER": 1}
    deployment = Deployment(job, VARIABLES, environment_variables=variables)
    job.items(4)
    with job.start("run", "deploy/deployment.yml", "in", "-o", "out") as started:
        wait_for(Path(f"{gate}.reached").exists, "the third item to run")
        started.signal(signal.SIGKILL)
        started.end()
    gate.touch()
    rows = deployment.run()
    run_id = json.loads((job.out.run_directory / "job.json").read_text())["document"]["run_id"]
    assert {tuple(json.loads(row)) for row in rows} == {(run_id, "1", "0", "1")}
    assert len(rows) == 4


def test_environment_holds_from_the_interpreters_start(job: Job) -> None:
    script = """
        import json, sys, time
        import elsewhere
        def run(mini_batch):
            return [json.dumps([sys.flags.hash_randomization, time.tzname[0], elsewhere.VALUE]) for path in mini_batch]
    """
    variables = {"PYTHONHASHSEED": 0, "TZ": "XYZ-3", "PYTHONPATH": str(job.folder / "libs")}
    deployment = Deployment(job, script, environment_variables=variables)
    job.write("libs/elsewhere.py", "VALUE = 'found'\n")
    job.items(1)
    assert json.loads(deployment.run("--python", sys.executable)[0]) == [0, "XYZ", "found"]


def test_environment_a_specs_own_value_stands_or_is_noted(job: Job) -> None:
    script = """
        import json, os
        NAMES = ["AZUREML_MODEL_DIR", "AZUREML_NODE_COUNT", "AZUREML_BI_OUTPUT_PATH", "BATCHCTL_RUN_ID"]
        def run(mini_batch):
            return [json.dumps([os.environ[name] for name in NAMES]) for path in mini_batch]
    """
    given = {"AZUREML_MODEL_DIR": "/mine", "AZUREML_NODE_COUNT": 4}
    taken = {"AZUREML_BI_OUTPUT_PATH": "/elsewhere", "BATCHCTL_RUN_ID": "other"}
    deployment = Deployment(job, script, model="../m", environment_variables={**given, **taken})
    job.write("m/w.pt", "w")
    job.items(1)
    notes = job.batchctl("check", "deploy/deployment.yml", "--json").expect(0).json["notes"]
    for name in given:
        assert any(f"environment_variables.{name}: used in place of batchctl's own" in note for note in notes)
    for name in taken:
        assert any(f"environment_variables.{name}: not used" in note for note in notes)
    (row,) = deployment.run()
    model, nodes, folder, run_id = json.loads(row)
    assert (model, nodes) == ("/mine", "4")
    assert Path(folder).is_relative_to(job.out.run_directory)
    assert run_id == json.loads((job.out.run_directory / "job.json").read_text())["document"]["run_id"]


def test_environment_mlflow_records_inside_the_run_directory(job: Job) -> None:
    script = """
        import os
        import mlflow
        from telling import tell, told
        def init():
            mlflow.record()
            tell(os.environ["MLFLOW_TRACKING_URI"])
        def run(mini_batch):
            while len(told()) < 2:
                pass
            return mini_batch
    """
    recorder = """
        import os
        from urllib.parse import unquote, urlparse
        def record():
            folder = unquote(urlparse(os.environ["MLFLOW_TRACKING_URI"]).path)
            os.makedirs(folder)
            with open(os.path.join(folder, "meta.yaml"), "x") as file:
                file.write("kept")
    """
    libraries = {"PYTHONPATH": str(job.folder / "libs")}
    deployment = Deployment(job, script, max_concurrency_per_instance=2, environment_variables=libraries)
    job.write("libs/mlflow.py", textwrap.dedent(recorder))
    job.items(2)
    deployment.run("--python", sys.executable)
    folder = job.out.run_directory / "mlruns"
    assert sorted(uri for (uri,) in deployment.told()) == [f"file://{folder}/worker-{slot:03d}" for slot in (0, 1)]
    assert [path.read_text() for path in sorted(folder.glob("*/meta.yaml"))] == ["kept", "kept"]
    assert [path.name for path in job.out.path.iterdir() if path.name != ".batchctl"] == ["predictions.csv"]


# --- G1: GPUs ---------------------------------------------------------------------------------------------------------

GPUS = """
    import os
    from telling import tell, told
    def init():
        tell(os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ["AZ_BATCHAI_GPU_COUNT_FOUND"])
    def run(mini_batch):
        while len(told()) < int(os.environ["EXPECTED"]):  # every worker is there
            pass
        return mini_batch
"""
CARD_0, CARD_1 = "GPU-01111111-aaaa", "GPU-11111111-aaaa"


def test_g1_four_workers_share_two_gpus_in_turn(job: Job, driver: dict[str, str]) -> None:
    """By UUID and round-robin, where Azure's documentation has indices 0 and 1 and no mask for the others, who would
    then all take GPU 0."""
    settings = {"max_concurrency_per_instance": 4, "environment_variables": {"EXPECTED": 4}}
    deployment = Deployment(job, GPUS, **settings)
    job.items(4)
    deployment.run(env=driver)
    assert sorted(deployment.told()) == [[card, "2"] for card in (CARD_0, CARD_0, CARD_1, CARD_1)]


def test_g1_as_many_workers_as_gpus_where_nothing_is_said(job: Job, driver: dict[str, str]) -> None:
    deployment = Deployment(job, GPUS, max_concurrency_per_instance=2, environment_variables={"EXPECTED": 2})
    job.items(2)
    deployment.run(env=driver)
    assert sorted(deployment.told()) == [[CARD_0, "2"], [CARD_1, "2"]]


def test_g1_a_mask_of_the_specs_limits_what_there_is(job: Job, driver: dict[str, str]) -> None:
    variables = {"EXPECTED": 2, "CUDA_VISIBLE_DEVICES": "1"}
    deployment = Deployment(job, GPUS, max_concurrency_per_instance=2, environment_variables=variables)
    job.items(2)
    deployment.run(env=driver)
    assert deployment.told() == [[CARD_1, "1"]] * 2


def test_g1_hide_gpus(job: Job, driver: dict[str, str]) -> None:
    variables = {"EXPECTED": 2, "CUDA_VISIBLE_DEVICES": "1"}
    deployment = Deployment(job, GPUS, max_concurrency_per_instance=2, environment_variables=variables)
    job.items(2)
    deployment.run("--hide-gpus", env=driver)
    assert deployment.told() == [["", "0"]] * 2


def test_g1_hide_gpus_from_what_is_preloaded_too(job: Job) -> None:
    """Modules of `preload` are imported before there is a worker."""
    job.write("libs/peek.py", "import os\nPID, SEEN = os.getpid(), os.environ.get('CUDA_VISIBLE_DEVICES')\n")
    script = """
        import os
        import peek
        from telling import tell
        def run(mini_batch):
            tell(peek.PID == os.getpid(), peek.SEEN)
            return mini_batch
    """
    variables = {"PYTHONPATH": str(job.folder / "libs"), "CUDA_VISIBLE_DEVICES": "1"}
    deployment = Deployment(job, script, max_concurrency_per_instance=1, environment_variables=variables)
    job.items(1)
    deployment.run("--hide-gpus", "--preload", "peek", "--python", sys.executable)
    assert deployment.told() == [[False, ""]]


# --- S20: the DataFrame writer's keywords -----------------------------------------------------------------------------

FRAMES = """
    import os
    import pandas as pd
    def run(mini_batch):
        names = [os.path.basename(path) for path in mini_batch]
        return pd.DataFrame({"file": names, "two words": [0.5] * len(names)})
"""


SPACED = ["a.txt 0.5", "b.txt 0.5", '"c d.txt" 0.5']
INDEXED = ["0,a.txt,0.5", "1,b.txt,0.5", "0,c d.txt,0.5"]


@pytest.mark.parametrize(
    ("overrides", "flags", "lines"),
    [
        (None, (), ["a.txt 0.5", "b.txt 0.5", '"c d.txt" 0.5']),
        ({"sep": ",", "index": True}, (), ["0,a.txt,0.5", "1,b.txt,0.5", "0,c d.txt,0.5"]),
        (
            {"sep": ",", "index": True},
            ("--header",),
            [",file,two words", "0,a.txt,0.5", "1,b.txt,0.5", "0,c d.txt,0.5"],
        ),
        (None, ("--header",), ['file "two words"', "a.txt 0.5", "b.txt 0.5", '"c d.txt" 0.5']),
        ({"header": ["f", "p"]}, ("--header",), ["f p", "a.txt 0.5", "b.txt 0.5", '"c d.txt" 0.5']),
    ],
    ids=["defaults", "sep and index", "sep, index and header", "header", "other names"],
)
def test_s20_settings_file_and_header(
    job: Job, overrides: dict[str, object] | None, flags: tuple[str, ...], lines: list[str]
) -> None:
    deployment = Deployment(job, FRAMES, mini_batch_size=2, max_concurrency_per_instance=2)
    if overrides is not None:
        text = json.dumps({"append_row": {"pandas.DataFrame.to_csv": overrides}})
        job.write("deploy/src/parallel_run_step.settings.json", text)
    for name in ("a.txt", "b.txt", "c d.txt"):
        job.write(f"in/{name}", "")
    assert deployment.run(*flags) == lines
    assert deployment.run(*flags) == lines  # complete already
    job.batchctl("verify", "out").expect(0)


def test_s20_header_survives_a_kill(job: Job) -> None:
    script = """
        import os, time
        import pandas as pd
        def run(mini_batch):
            if mini_batch[0].endswith("item002.txt") and not os.path.exists(os.environ["GATE"]):
                open(os.environ["GATE"] + ".reached", "w").close()
                time.sleep(1000)
            return pd.DataFrame({"file": [os.path.basename(path) for path in mini_batch]})
    """
    gate = job.folder / "gate"
    deployment = Deployment(job, script, environment_variables={"GATE": str(gate)}, retry_settings={"timeout": 1000})
    job.items(4)
    partial = job.out.path / "predictions.csv.partial"
    with job.start("run", "deploy/deployment.yml", "in", "-o", "out", "--header") as started:
        wait_for(Path(f"{gate}.reached").exists, "the third item to run")
        wait_for(lambda: partial.exists() and b"item001" in partial.read_bytes(), "two rows")
        started.signal(signal.SIGKILL)
        started.end()
    assert partial.read_bytes().startswith(b"file\nitem000.txt\n")
    gate.touch()
    assert deployment.run("--header") == ["file", *(f"item{number:03d}.txt" for number in range(4))]


# --- acceptance 6: secrets --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [("run", "-o", "out"), ("check",)], ids=["run", "check"])
def test_secrets_stay_out_of_an_interpreters_last_words(job: Job, command: tuple[str, ...]) -> None:
    last = "import os, sys\nsys.stderr.write('dying of ' + os.environ['API_KEY'])\nsys.stderr.flush()\nos._exit(3)\n"
    job.write("site/sitecustomize.py", last)
    Deployment(job, "def run(b): return b\n", environment_variables={"PYTHONPATH": str(job.folder / "site")})
    job.items(1)
    words = (command[0], "deploy/deployment.yml", *(("in",) if command[0] == "run" else ()), *command[1:])
    ran = job.batchctl(*words, "--python", sys.executable, env={"API_KEY": "k-0123456789"}).expect(2)
    ran.names("dying of ***")
    assert b"k-0123456789" not in ran.stdout + ran.stderr


def test_secrets_stay_out_of_whatever_is_kept(job: Job) -> None:
    script = """
        import os, subprocess, sys, time
        def init():
            print(os.environ)
            print(dict(os.environ), file=sys.stderr)
            subprocess.run(["env"], check=True)
        def run(mini_batch):
            for step in range(1, 4):
                sys.stderr.write("\\r%3d%%|%s| %d/3 token=%s" % (step * 33, "#" * step, step, os.environ["HF_TOKEN"]))
                sys.stderr.flush()
            if mini_batch[0].endswith("item001.txt"):
                raise ValueError("cannot log in with " + os.environ["HF_TOKEN"])
            return ["ok" for path in mini_batch]
        def shutdown():
            raise ValueError("late: " + os.environ["DB_URL"])
    """
    values = {"HF_TOKEN": "hf-0123456789", "DB_URL": "postgres://me:s3cret@host/db", "FLAVOUR": "vanilla"}
    inherited = {"MY_API_KEY": "inherited-0123456789"}
    deployment = Deployment(job, script, environment_variables=values, retry_settings={"max_retries": 0})
    job.items(3)
    ran = job.batchctl("run", "deploy/deployment.yml", "in", "-o", "out", env=inherited).expect(0)
    assert deployment.told() == []
    kept = {path.name: path.read_bytes() for path in job.out.path.rglob("*") if path.is_file()}
    for value in (*values.values(), *inherited.values()):
        for name, data in {**kept, "stdout": ran.stdout, "stderr": ran.stderr}.items():
            assert value.encode() not in data, f"{value} is in {name}"
    said = logs(job)
    for text in ("'FLAVOUR': '***'", "HF_TOKEN=***", "\r 99%|###| 3/3 token=***", "MY_API_KEY=***"):
        assert text in said, text
    ran.names("cannot log in with ***", "late: ***")
