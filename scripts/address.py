#!/usr/bin/env python3
"""Keeps what depends on the project's address (release.toml) and version (Cargo.toml) the same everywhere.

scripts/address.py check    whether it is; also that the files for hosts name only settings that the server has
scripts/address.py write    makes it so: run it after a change of either

Without an address, links and images have the placeholders OWNER and NAME, there are no deploy buttons, and the packages name no
repository.
"""

import json
import re
import sys
import tomllib
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).resolve().parent.parent
HOSTS = ["render.yaml", "fly.toml", *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "deploy").rglob("*")) if path.is_file())]
INSTALL = "docs/install.md"
HOSTING = "docs/hosting.md"
# Has no setting of the server's.
OTHER = ("deploy/install/", "deploy/grafana-dashboard.json")
# Read by the server, but not by its options (signaling/src/config.rs), or by the installers.
ALSO_READ = {"VOICEMESH_ADMIN_TOKEN"}

IMAGE = re.compile(r"(ghcr(?:\.io)?)/[\w.-]+/voicemesh-signaling:[\w.-]+")
ADDRESS = re.compile(r"https://github\.com/[^/\s`\"')]+/[^/\s`\"')]+")
OF_REPOSITORY = re.compile(r"--repo [\w.-]+/[\w.-]+")
OF_WORKFLOW = re.compile(r"--signer-workflow [^/\s]+/[^/\s]+/")
NUMBER = re.compile(r"\b\d+\.\d+\.\d+\b")
REGION = re.compile(r"(<!-- address: [^>]*-->\n).*?(<!-- end -->)", re.S)


def main() -> None:
    if sys.argv[1:] not in (["check"], ["write"]):
        sys.exit("usage: scripts/address.py check|write")
    address, version = known()
    wrong = []
    for name, text in wanted(address, version).items():
        path = ROOT / name
        if path.read_text() == text:
            continue
        if sys.argv[1] == "write":
            path.write_text(text)
            print(name)
        else:
            wrong.append(f"{name} does not agree with release.toml and Cargo.toml: scripts/address.py write")
    wrong += unknown_settings()
    if wrong:
        sys.exit("\n".join(wrong))


def known() -> tuple[str, str]:
    address = tomllib.loads((ROOT / "release.toml").read_text())["repository"].rstrip("/")
    if address and not ADDRESS.fullmatch(address):
        sys.exit(f"release.toml: {address} is not of the form https://github.com/OWNER/NAME")
    return address, tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]


def wanted(address: str, version: str) -> dict[str, str]:
    """Every file that has the address or the version in it, as it should be."""
    shown = address or "https://github.com/OWNER/NAME"
    owner, name = shown.rsplit("/", 2)[1:]
    # A registry has no capital letters; the placeholder is no name of a registry's.
    image = f"ghcr.io/{owner.lower() if address else owner}/voicemesh-signaling:{version}"
    texts = {}
    for path in [*HOSTS, HOSTING, INSTALL]:
        text = (ROOT / path).read_text()
        text = IMAGE.sub(lambda found: found[1] + image.removeprefix("ghcr.io"), text)
        if path == INSTALL:
            text = ADDRESS.sub(shown, text)
            text = OF_REPOSITORY.sub(f"--repo {owner}/{name}", text)
            text = OF_WORKFLOW.sub(f"--signer-workflow {owner}/{name}/", text)
            text = NUMBER.sub(version, text)
            text = REGION.sub(lambda found: found[1] + notice(address) + found[2], text)
        if path == HOSTING:
            text = REGION.sub(lambda found: found[1] + buttons(address, image) + found[2], text)
        texts[path] = text
    texts |= manifests(address)
    return texts


def notice(address: str) -> str:
    return "" if address else "**Nothing is published yet.** The commands below have placeholders for the address.\n"


def buttons(address: str, image: str) -> str:
    if not address:
        return "The deploy buttons are off: the repository has no public address yet (`release.toml`).\n"
    koyeb = "https://app.koyeb.com/deploy?type=docker&name=voicemesh&image=" + quote(image, safe="")
    koyeb += "&ports=" + quote("8080;http;/", safe="")
    for key, value in {"PORT": "8080", "VOICEMESH_TRUSTED_PROXY": "private", "VOICEMESH_SECRET": ""}.items():
        koyeb += f"&env%5B{key}%5D={value}"
    render = "https://render.com/deploy?repo=" + quote(address, safe="")
    return (
        f"[![Deploy to Render](https://render.com/images/deploy-to-render-button.svg)]({render})\n"
        f"[![Deploy to Koyeb](https://www.koyeb.com/static/images/deploy/button.svg)]({koyeb})\n"
    )


def manifests(address: str) -> dict[str, str]:
    """The packages' `repository`, which cargo-binstall needs; there is none without an address."""
    texts = {}
    for name in ["Cargo.toml", *members()]:
        text = (ROOT / name).read_text()
        text = re.sub(r'^repository(\.workspace)? = .*\n', "", text, flags=re.M)
        if address and name == "Cargo.toml":
            text = re.sub(r'^(license = .*\n)', rf'\1repository = "{address}"\n', text, count=1, flags=re.M)
        elif address:
            text = re.sub(r'^(license\.workspace = true\n)', r'\1repository.workspace = true\n', text, count=1, flags=re.M)
        texts[name] = text
    return texts


def members() -> list[str]:
    return [f"{folder}/Cargo.toml" for folder in tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["members"]]


def unknown_settings() -> list[str]:
    """Variables in the files for hosts that the server does not read."""
    source = (ROOT / "signaling/src/config.rs").read_text()
    read = set(re.findall(r'env = "(VOICEMESH_\w+)"', source)) | ALSO_READ
    if len(read) < 20:
        sys.exit("signaling/src/config.rs: the server's settings were not found")
    wrong = []
    for path in HOSTS:
        if path.startswith(OTHER):
            continue
        text = (ROOT / path).read_text()
        wrong += [f"{path}: the server has no setting {name}" for name in set(re.findall(r"\bVOICEMESH_\w+", text)) - read]
        if path.endswith(".json"):
            json.loads(text)
        if path.endswith(".toml"):
            tomllib.loads(text)
    return wrong


main()
