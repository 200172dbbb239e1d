"""The RayJob of the examples has the fields that KubeRay knows, and a command that score understands."""

import shlex
from pathlib import Path

import pytest
import yaml

from ser_gpu import score

ROOT = Path(__file__).resolve().parent.parent.parent


def record(required=(), **properties):
    """A JSON schema: these properties and no others."""
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


TEXT, FLAG, COUNT = {"type": "string"}, {"type": "boolean"}, {"type": "integer", "minimum": 0}
TEXTS = {"type": "object", "additionalProperties": TEXT}
POD = record(
    ["spec"],
    metadata={"type": "object"},
    spec=record(
        ["containers"],
        containers={
            "type": "array",
            "minItems": 1,
            "items": record(["name", "image"], name=TEXT, image=TEXT, resources=record(limits=TEXTS, requests=TEXTS)),
        },
    ),
)
# ray-operator/apis/ray/v1/rayjob_types.go and raycluster_types.go of KubeRay 1.4
CLUSTER = record(
    ["headGroupSpec"],
    rayVersion=TEXT,
    enableInTreeAutoscaling=FLAG,
    headGroupSpec=record(["rayStartParams", "template"], rayStartParams=TEXTS, template=POD),
    workerGroupSpecs={
        "type": "array",
        "items": record(
            ["groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"],
            groupName=TEXT,
            replicas=COUNT,
            minReplicas=COUNT,
            maxReplicas=COUNT,
            rayStartParams=TEXTS,
            template=POD,
        ),
    },
)
JOB = record(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=record(["name"], name={"type": "string", "pattern": "^[a-z0-9-]{1,47}$"}),
    spec=record(
        ["entrypoint", "rayClusterSpec"],
        entrypoint=TEXT,
        shutdownAfterJobFinishes=FLAG,
        ttlSecondsAfterFinished=COUNT,
        backoffLimit=COUNT,
        rayClusterSpec=CLUSTER,
    ),
)


@pytest.fixture(scope="module")
def job():
    return yaml.safe_load((ROOT / "examples" / "rayjob.yaml").read_text())


def test_the_rayjob_has_the_fields_of_kuberay(job):
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema comes with ray: pip install 'ser_gpu[ray]'")
    jsonschema.validate(job, JOB)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(job | {"spec": job["spec"] | {"entryPoint": "ser-gpu"}}, JOB)


def test_the_rayjob_runs_score(job):
    program, command, *arguments = shlex.split(job["spec"]["entrypoint"])
    assert (program, command) == ("ser-gpu", "score")
    args = score._parser().parse_args(arguments)
    assert (args.address, args.gpus) == ("auto", 0.5)
