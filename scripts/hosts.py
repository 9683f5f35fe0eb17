"""Whether each host's file can be parsed and says what the server needs: at most one instance, its port, its health, and a secret that
is drawn by the host instead of written in the file. Run by scripts/lint.sh, whose Python has a YAML parser."""

import json
import tomllib
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parent.parent
WRONG = []


def main() -> None:
    render("render.yaml", {"runtime": "docker", "dockerfilePath": "./Dockerfile"})
    render("deploy/render-image.yaml", {"runtime": "image"})
    fly()
    railway()
    northflank()
    cloud_run()
    koyeb()
    if WRONG:
        raise SystemExit("\n".join(WRONG))


def render(name: str, kind: dict) -> None:
    [service] = yaml(name)["services"]
    holds(name, kind | {"type": "web", "numInstances": 1, "healthCheckPath": "/healthz"}, service)
    variables = {variable["key"]: variable for variable in service["envVars"]}
    holds(name, {"generateValue": True}, variables["VOICEMESH_SECRET"])
    if kind["runtime"] == "image":
        image(name, service["image"]["url"])
        holds(name, {"value": "8080"}, variables["PORT"])
    # A value over several lines of the file has to be one word.
    for variable in variables.values():
        if any(letter.isspace() for letter in variable.get("value", "")):
            WRONG.append(f"{name}: {variable['key']} has a blank in it")
    both = [next(v["value"] for v in yaml(path)["services"][0]["envVars"] if v["key"] == "VOICEMESH_TRUSTED_PROXY")
            for path in ("render.yaml", "deploy/render-image.yaml")]
    if both[0] != both[1]:
        WRONG.append("render.yaml and deploy/render-image.yaml trust different proxies")


def fly() -> None:
    name = "fly.toml"
    config = tomllib.loads((ROOT / name).read_text())
    holds(name, {"internal_port": int(config["env"]["PORT"])}, config["http_service"])
    holds(name, {"path": "/healthz"}, config["http_service"]["checks"][0])
    if "VOICEMESH_SECRET" in config["env"]:
        WRONG.append(f"{name}: the secret has no place in a file")


def railway() -> None:
    name = "deploy/railway.json"
    config = json.loads((ROOT / name).read_text())
    holds(name, {"builder": "DOCKERFILE", "dockerfilePath": "Dockerfile"}, config["build"])
    # The next one starts when the old one has ended, which takes 10 s at most.
    holds(name, {"numReplicas": 1, "healthcheckPath": "/healthz", "overlapSeconds": 0, "drainingSeconds": 15}, config["deploy"])


def northflank() -> None:
    name = "deploy/northflank.json"
    steps = json.loads((ROOT / name).read_text())["spec"]["spec"]["steps"]
    service = next(step["spec"] for step in steps if step["kind"] == "DeploymentService")
    holds(name, {"instances": 1}, service["deployment"])
    holds(name, {"PORT": str(service["ports"][0]["internalPort"]), "VOICEMESH_SECRET": "${args.SECRET}"}, service["runtimeEnvironment"])
    holds(name, {"path": "/healthz", "port": service["ports"][0]["internalPort"]}, service["healthChecks"][0])
    image(name, service["deployment"]["external"]["imagePath"])


def cloud_run() -> None:
    name = "deploy/cloud-run.yaml"
    template = yaml(name)["spec"]["template"]
    holds(name, {"autoscaling.knative.dev/maxScale": "1"}, template["metadata"]["annotations"])
    [container] = template["spec"]["containers"]
    variables = {variable["name"]: variable for variable in container["env"]}
    # Otherwise connections would be cut before peers replace them.
    holds(name, {"value": str(template["spec"]["timeoutSeconds"])}, variables["VOICEMESH_CONNECTION_LIFETIME"])
    if "value" in variables["VOICEMESH_SECRET"]:
        WRONG.append(f"{name}: the secret has no place in a file")
    holds(name, {"path": "/healthz", "port": container["ports"][0]["containerPort"]}, container["startupProbe"]["httpGet"])
    image(name, container["image"])


def koyeb() -> None:
    name = "deploy/koyeb.sh"
    text = (ROOT / name).read_text()
    for wanted in ("--max-scale 1", "--ports 8080:http", "--env PORT=8080", "--checks 8080:http:/healthz", "{{secret.voicemesh-secret}}"):
        if wanted not in text:
            WRONG.append(f"{name}: {wanted} is missing")


def yaml(name: str):
    return YAML(typ="safe").load((ROOT / name).read_text())


def holds(name: str, wanted: dict, found: dict) -> None:
    for key, value in wanted.items():
        if found.get(key) != value:
            WRONG.append(f"{name}: {key} is {found.get(key)!r} and should be {value!r}")


def image(name: str, found: str) -> None:
    if not found.startswith("ghcr.io/"):
        WRONG.append(f"{name}: {found} is not the published image")


main()
