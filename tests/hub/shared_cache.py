"""The cache of bise pull is that of huggingface_hub: what one of them has brought, the other finds without a byte from the hub."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from loopback import Hub

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"
SNAPSHOT = "from huggingface_hub import snapshot_download as get; print(get('org/model'))"
FILE = "from huggingface_hub import hf_hub_download as get; print(get('org/file', 'tiny-Q8_0.gguf'))"


def run(home: Path, hub: Hub, *command: str, offline: bool = False) -> str:
    told = {"HF_ENDPOINT": hub.address, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": str(int(offline))}
    done = subprocess.run(command, env=os.environ | told, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout.strip()


def bodies(hub: Hub) -> list[str]:
    return [path for method, path in hub.requests if method == "GET" and "/resolve/" in path]


def main(bise: str) -> None:
    root = Path(tempfile.mkdtemp())
    model, file = root / "repositories/org/model", root / "repositories/org/file"
    shutil.copytree(FIXTURES / "tiny-mistral", model, ignore=lambda at, names: [n for n in names if (Path(at) / n).is_dir()])
    file.mkdir()
    shutil.copy(FIXTURES / "demo.gguf", file / "tiny-Q8_0.gguf")
    hub = Hub(root / "repositories")
    story = ["run", "-p", "Once upon a time", "-n", "8", "--temp", "0", "-m"]

    # bise brings, Python finds: a whole directory, and one file.
    home = root / "brought-by-bise"
    run(home, hub, bise, "pull", "org/model")
    run(home, hub, bise, "pull", "org/file:Q8_0")
    hub.requests.clear()
    snapshot = Path(run(home, hub, sys.executable, "-c", SNAPSHOT, offline=True))
    found = Path(run(home, hub, sys.executable, "-c", FILE, offline=True))
    assert hub.requests == [], hub.requests
    assert (snapshot / "model.safetensors").read_bytes() == (model / "model.safetensors").read_bytes()
    assert found.read_bytes() == (file / "tiny-Q8_0.gguf").read_bytes()
    run(home, hub, sys.executable, "-c", FILE)
    assert bodies(hub) == [], "huggingface_hub asks only whether there is something new"

    # Python brings, bise finds.
    home = root / "brought-by-python"
    for code in (SNAPSHOT, FILE):
        run(home, hub, sys.executable, "-c", code)
    hub.requests.clear()
    assert run(home, hub, bise, *story, "org/model", offline=True)
    assert run(home, hub, bise, *story, "org/file:Q8_0", offline=True)
    assert hub.requests == [], hub.requests
    run(home, hub, bise, "pull", "org/file:Q8_0")
    assert bodies(hub) == [], "bise asks only whether there is something new"
    listed = run(home, hub, bise, "list")
    assert "org/model" in listed and "org/file" in listed, listed
    shutil.rmtree(root)
    print("one cache, found both ways")


main(sys.argv[1])
