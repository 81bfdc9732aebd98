"""Azure's keys that batchctl reads past, each with the reason that the user is told.

With azure.py this is all that the program knows of the deployment schema; docs/spec.md lists the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# Said in one note together: nobody expects them to change how files are scored.
METADATA = frozenset(
    (
        "$schema",
        "description",
        "tags",
        "properties",
        "id",
        "endpoint_name",
        "creation_context",
        "provisioning_state",
        "type",
    )
)

# Said one by one. Keys are dotted, from the root.
IGNORED: Mapping[str, str] = MappingProxyType(
    {
        "compute": "ignored: this machine is the compute",
        "instance_count": "ignored: one machine scores",
        "resources.instance_count": "ignored: one machine scores",
        "resources.max_instance_count": "ignored: one machine scores",
        "resources.instance_type": "ignored: the machine is measured",
        "resources.properties": "ignored: they configure Azure's machines",
        "resources.shm_size": "ignored: there is no container",
        "resources.docker_args": "ignored: there is no container",
        "resources.locations": "ignored: this machine is the compute",
        "settings.instance_count": "ignored: one machine scores",
        "environment.image": "ignored: there is no container; the script runs in the interpreter that --python names",
        "environment.build": "ignored: there is no container; the script runs in the interpreter that --python names",
        "environment.name": "ignored: environments are not registered here",
        "environment.version": "ignored: environments are not registered here",
        "environment.description": "ignored: environments are not registered here",
        "environment.tags": "ignored: environments are not registered here",
        "environment.properties": "ignored: environments are not registered here",
        "environment.os_type": "ignored: there is no container",
        "environment.inference_config": "ignored: it is for online endpoints",
        "environment.id": "ignored: environments are not registered here",
        "environment.datastore": "ignored: environments are not registered here",
        "environment.auto_delete_setting": "ignored: environments are not registered here",
        "model.name": "ignored: the model is taken from its path",
        "model.version": "ignored: the model is taken from its path",
        "model.description": "ignored: the model is taken from its path",
        "model.tags": "ignored: the model is taken from its path",
        "model.properties": "ignored: the model is taken from its path",
        "model.flavors": "ignored: the script loads the model",
        "model.stage": "ignored: the model is taken from its path",
        "model.datastore": "ignored: the model is taken from its path",
        "model.system_metadata": "ignored: the model is taken from its path",
        "model.default_deployment_template": "ignored: it is for online endpoints",
        "model.allowed_deployment_templates": "ignored: it is for online endpoints",
    }
)

# What an invocation on Azure may override beside the deployment's own keys: taken from --set only.
OVERRIDES: Mapping[str, str] = MappingProxyType(
    {
        "compute.instance_count": "ignored: one machine scores",
        "compute.instance_type": "ignored: the machine is measured",
        "input_data": "ignored: INPUT on the command line is what is scored",
        "dataset": "ignored: INPUT on the command line is what is scored",
        "inputs": "ignored: INPUT on the command line is what is scored",
        "output_data": "ignored: -o OUT is where the output goes",
        "output_dataset": "ignored: -o OUT is where the output goes",
        "outputs": "ignored: -o OUT is where the output goes",
        "job_name": "used as the name of the job",
    }
)

USED_AT_ROOT = ("name", "model", "code_configuration", "environment", "resources", "settings")
MODEL_TYPES = ("custom_model", "mlflow_model", "triton_model")
CODE_KEYS = ("code", "scoring_script")
RETRY_KEYS = ("max_retries", "timeout")

# Root keys that say "this is another kind of file", and what to say then.
STRANGERS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "auth_mode": ("this is a batch endpoint, not a deployment", "Give the deployment's YAML"),
        "job_definition": ("pipeline component deployments are not supported", "Give a deployment of type: model"),
        "component": ("pipeline component deployments are not supported", "Give a deployment of type: model"),
        "jobs": (
            "this is a pipeline job",
            "Give a deployment of type: model, or a step of type: parallel in its own file",
        ),
        "task": ("this is a parallel job without its type", "Add type: parallel"),
        "instance_type": ("this is an online deployment or another resource", "Give a batch deployment's YAML"),
    }
)

# Keys that only a parallel job has, and no flag stands for.
PARALLEL_ONLY: Mapping[str, str] = MappingProxyType(
    {"partition_keys": "Only a parallel job has it: type: parallel, with the script below task"}
)

TYPES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "pipeline": ("pipeline component deployments are not supported", "Give a deployment of type: model"),
    }
)


def ignored_below(key: str) -> tuple[str, ...]:
    """The sub-keys of a root key that are read past."""
    return tuple(name.partition(".")[2] for name in IGNORED if name.startswith(f"{key}."))
