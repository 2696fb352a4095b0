"""Renders what is in deploy/ as the cluster would get it, checks each resource against its schema, and prints all of them
as JSON: a list of resources for each folder, and compose.yaml. Or what is wrong. A line for each deploy/ that is named.

Schemas are other people's: Kubernetes' own (kubernetes-validate), those of the Prometheus Operator and Knative as models made
from their resource definitions (cloudcoil), KServe's as the models of its SDK, Compose's (check-jsonschema). Kustomizations
are built by kubectl.
"""

import ast
import functools
import importlib.util
import json
import pathlib
import re
import subprocess
import sys

import kubernetes_validate
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema
from cloudcoil.models.knative_serving.serving import v1 as knative
from cloudcoil.models.prometheus_operator import v1 as prometheus
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

# It reads two megabytes for every resource.
schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)
kubernetes_validate.utils.schema_contents = schema_contents

# The oldest that has what is used, as deploy/README.md says, and the newest that there is a schema of.
KUBERNETES = ["1.30", kubernetes_validate.latest_version()]

MODELS = {
    ("monitoring.coreos.com/v1", "ServiceMonitor"): prometheus.ServiceMonitor,
    ("serving.knative.dev/v1", "Service"): knative.Service,
}

KSERVE = {
    ("serving.kserve.io/v1alpha1", "ServingRuntime"): "V1alpha1ServingRuntime",
    ("serving.kserve.io/v1beta1", "InferenceService"): "V1beta1InferenceService",
}


def main(folders):
    for folder in folders:
        try:
            print(json.dumps(render(folder)))
        except Exception as error:
            print(json.dumps({"error": f"{folder}: {error}"}))


def render(deploy):
    rendered = {}
    for folder in sorted(deploy.glob("kubernetes/overlays/*")) + [deploy / "kubernetes/base"]:
        # Beside this very Python, where its package put it.
        kubectl = pathlib.Path(sys.executable).parent / "kubectl"
        built = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True)
        # It says there what is deprecated, too.
        assert not built.stderr, built.stderr
        rendered[str(folder.relative_to(deploy))] = list(yaml.safe_load_all(built.stdout))
    for folder in ["kserve", "knative"]:
        texts = [file.read_text() for file in sorted((deploy / folder).glob("*.yaml"))]
        rendered[folder] = [resource for text in texts for resource in yaml.safe_load_all(text)]
    for folder, resources in rendered.items():
        for resource in resources:
            try:
                check(resource)
            except Exception as error:
                name = f"{folder}: {resource['kind']} {resource['metadata']['name']}"
                raise AssertionError(f"{name}: {error}") from error
    compose = yaml.safe_load((deploy / "compose.yaml").read_text())
    Draft202012Validator(get_builtin_schema("vendor.compose-spec")).validate(compose)
    adapter = yaml.safe_load((deploy / "kubernetes/prometheus-adapter.yaml").read_text())
    return {"resources": rendered, "compose": compose, "adapter": adapter}


def check(resource):
    """Raises where a resource breaks its schema, or has a field that the schema does not know."""
    kind = (resource["apiVersion"], resource["kind"])
    if model := MODELS.get(kind):
        # What a model does not know, it leaves out.
        known = model.model_validate(resource, strict=True).model_dump(mode="json", by_alias=True, exclude_unset=True)
        assert known == resource, f"only this is known: {json.dumps(known)}"
    elif name := KSERVE.get(kind):
        check_kserve(resource, name, resource["kind"])
    else:
        for version in KUBERNETES:
            kubernetes_validate.validate(resource, version, strict=True)


def check_kserve(value, kind, path):
    """Checks a value against a type as KServe's SDK names it."""
    if item := re.fullmatch(r"list\[(.*)\]", kind):
        assert isinstance(value, list), f"{path} is no list"
        for index, element in enumerate(value):
            check_kserve(element, item[1], f"{path}[{index}]")
    elif item := re.fullmatch(r"dict\(str, (.*)\)", kind):
        assert isinstance(value, dict), f"{path} is no map"
        for key, element in value.items():
            check_kserve(element, item[1], f"{path}.{key}")
    elif kind in ("str", "int", "bool"):
        assert type(value).__name__ == kind, f"{path} is no {kind}"
    elif fields := kserve_fields(kind):
        assert isinstance(value, dict), f"{path} is no {kind}"
        for key, element in value.items():
            assert key in fields, f"{path} has no field {key}"
            check_kserve(element, fields[key], f"{path}.{key}")
    else:
        check_core(value, kind, path)


def kserve_fields(kind):
    """The fields of one of the SDK's models, with their types; none where it is not one of its own. Read and not imported:
    the SDK would bring a whole server along."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])|(?<=[a-z])(?=[A-Z])", "_", kind).lower()
    folder = pathlib.Path(importlib.util.find_spec("kserve").origin).parent / "models"
    file = folder / f"{name}.py"
    if not file.is_file():
        return None
    model = next(node for node in ast.parse(file.read_text()).body if isinstance(node, ast.ClassDef))
    tables = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in model.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict)
    }
    return {key: tables["openapi_types"][field] for field, key in tables["attribute_map"].items()}


def check_core(value, kind, path):
    """Checks a value against a type of Kubernetes' own, which KServe's resources are made of."""
    group = "apimachinery.pkg.apis.meta" if kind == "V1ObjectMeta" else "api.core"
    folder = f"kubernetes-json-schema/v{KUBERNETES[-1]}-local-strict"
    definitions = schema_contents(f"{folder}/_definitions.json", KUBERNETES[-1])
    reference = f"{definitions['$id']}#/$defs/io.k8s.{group}.v1.{kind.removeprefix('V1')}"
    registry = Resource.from_contents(definitions) @ Registry()
    for error in Draft202012Validator({"$ref": reference}, registry=registry).iter_errors(value):
        raise AssertionError(f"{path}: {error.message}")


main([pathlib.Path(folder) for folder in sys.argv[1:]])
