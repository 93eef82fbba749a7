"""podman and buildah with runc: a base, an image of this checkout, and containers from it.

They need no daemon, and work for root in a container of its own, without systemd and without the right to raise limits.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import PROJECT

PROGRAMS = ("podman", "buildah", "runc", "debootstrap")
_BASE = "localhost/lseg-base:bookworm"
# runc works with every layout of cgroups, and a user may lack the right to raise limits to the default ones.
_SETTINGS = """[engine]
runtime="runc"
cgroup_manager="cgroupfs"
[containers]
default_ulimits=["nofile=4096:4096","nproc=4096:4096"]
"""
# What tells pip and TLS where packages and certificates are.
_CONFIGURATION = ("/etc/pip.conf", "/etc/xdg/pip", "/etc/ssl/certs/ca-certificates.crt")


@dataclass(frozen=True)
class Engine:
    """The programs, and where their configuration and files may go."""

    folder: Path

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program; a failure has its last lines in the message."""
        settings = self.folder / "containers.conf"
        settings.write_text(_SETTINGS)
        environment = {**os.environ, "CONTAINERS_CONF": str(settings)}
        run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=PROJECT)
        assert not check or run.returncode == 0, f"{' '.join(command)}\n{run.stdout[-3000:]}\n{run.stderr[-3000:]}"
        return run

    def base(self) -> str:
        """The image that BASE names, or else a Debian 12 that is made of Debian's packages, and kept."""
        if "BASE" in os.environ:
            return os.environ["BASE"]
        if self.run("podman", "image", "exists", _BASE, check=False).returncode != 0:
            system = self.folder / "debian"
            self.run("debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", str(system))
            archive = self.folder / "debian.tar"
            self.run("tar", "-C", str(system), "-cf", str(archive), ".")
            self.run("podman", "import", str(archive), _BASE)
            archive.unlink()
            shutil.rmtree(system)
        return _BASE

    def build(self, tag: str, target: str = "", *, file: Path = PROJECT / "Dockerfile", **arguments: str) -> None:
        """Build a target of a Dockerfile. What pip is told on this machine holds in the build, too."""
        settings = subprocess.run(["pip", "config", "list"], capture_output=True, text=True, check=False).stdout
        folders = sorted(set(re.findall(r"(?:file://)?(/(?:opt|srv|mnt)/[^/ ',\"]+)", settings)))
        command = ["buildah", "build", "--format", "docker", "--isolation", "chroot", "--file", str(file), "--tag", tag]
        command += ["--target", target] if target else []
        for path in (*folders, *(one for one in _CONFIGURATION if Path(one).exists())):
            command += ["--volume", f"{path}:{path}:ro"]
        # The argument of the Dockerfile would go over this machine's configuration.
        indexes = re.findall(r"extra-index-url='([^']*)'", settings)
        arguments = {"BASE": self.base(), **({"PIP_EXTRA_INDEX_URL": indexes[-1]} if indexes else {}), **arguments}
        found = re.findall(r"find-links='([^']*)'", settings)
        arguments |= {"PIP_FIND_LINKS": found[-1]} if found else {}
        for name, value in arguments.items():
            command += ["--build-arg", f"{name}={value}"]
        self.run(*command, ".")

    def size(self, tag: str) -> int:
        """Bytes of the image, its base included."""
        return int(self.run("podman", "image", "inspect", tag, "--format", "{{.Size}}").stdout)

    def start(self, tag: str, name: str, options: Sequence[str], arguments: Sequence[str] = ()) -> Container:
        """Start a container as production does: nothing writable but /tmp, no capability, no new privilege."""
        hardened = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "300"]
        hardened += ["--tmpfs", "/tmp:rw,noexec,nosuid,nodev,size=256m", "--memory", "3g"]
        hardened += ["--read-only-tmpfs=false"]  # podman alone would make /run and /var/tmp writable
        self.run("podman", "run", "--detach", "--name", name, *hardened, *options, tag, *arguments)
        return Container(self, name)


@dataclass(frozen=True)
class Container:
    """A container, running or not."""

    engine: Engine
    name: str

    def sh(self, command: str) -> str:
        """What a shell command prints inside it; it may fail."""
        return self.engine.run("podman", "exec", self.name, "sh", "-c", command, check=False).stdout.strip()

    def healthy(self) -> bool:
        """Whether its health check passes now."""
        return self.engine.run("podman", "healthcheck", "run", self.name, check=False).returncode == 0

    def megabytes(self) -> float:
        """Memory that its control group counts, in MB of 10^6 bytes: processes, and files in /tmp."""
        text = self.engine.run("podman", "stats", "--no-stream", "--format", "{{.MemUsage}}", self.name).stdout
        value, unit = re.match(r"([\d.]+)([kMG]?)B", text).groups()  # type: ignore[union-attr]
        return float(value) * {"": 1e-6, "k": 1e-3, "M": 1, "G": 1e3}[unit]

    def log(self) -> str:
        """What it printed."""
        run = self.engine.run("podman", "logs", self.name)
        return run.stdout + run.stderr

    def signal(self, name: str) -> None:
        """Send a signal to its process 1."""
        self.engine.run("podman", "kill", "--signal", name, self.name)

    def wait(self) -> int:
        """Its exit status, once it has ended."""
        return int(self.engine.run("podman", "wait", self.name).stdout)

    def remove(self) -> None:
        """Remove it, running or not."""
        self.engine.run("podman", "rm", "--force", "--time", "1", self.name, check=False)
