"""Shared by the measuring scripts: builds and starts programs, puts load on them, and reads what they used.

The proxy has processor 0 to itself, the origin and the load generator share processor 1 (with three or more processors
each has its own); processes are ended by their ids. CARGO_TARGET_DIR and the profile's variables are obeyed. WEIR names
another weir to measure, for example one that was built from another revision.
"""
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RELEASE = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
WEIR = os.environ.get("WEIR", str(RELEASE / "weir"))
LOAD, RELAY = str(RELEASE / "examples/load"), str(RELEASE / "examples/relay")
PROCESSORS = sorted(os.sched_getaffinity(0))
PROXY_ON, ORIGIN_ON, LOAD_ON = PROCESSORS[0], PROCESSORS[1 % len(PROCESSORS)], PROCESSORS[min(2, len(PROCESSORS) - 1)]
IDLE_ORIGINS = 1000
TICK = 1 / os.sysconf("SC_CLK_TCK")


def build(weir="WEIR" not in os.environ):
    """Builds weir (unless WEIR names a program) and the load programs."""
    what = ["--bin", "weir"] if weir else []
    command = ["cargo", "build", "--release", "--quiet", *what, "--example", "load", "--example", "relay"]
    subprocess.run(command, cwd=ROOT, check=True)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def install(programs):
    """Installs the missing ones of {program: Debian package}, without starting their services."""
    missing = sorted({package for program, package in programs.items() if not shutil.which(program, path=path())})
    if not missing:
        return
    if not shutil.which("apt-get") or os.geteuid() != 0:
        print("not installed, and no right to install:", *missing, file=sys.stderr)
        return
    policy = Path("/usr/sbin/policy-rc.d")
    mine = not policy.exists()
    if mine:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        apt = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0"]
        quiet = {"env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, "stdout": subprocess.DEVNULL}
        command = [*apt, "install", "-y", "--no-install-recommends", *missing]
        if subprocess.run(command, **quiet).returncode != 0:
            subprocess.run([*apt, "update"], **quiet)
            subprocess.run(command, **quiet)
    finally:
        if mine:
            policy.unlink()


def connections_max():
    """Number of clients that a proxy has descriptors for: two each, those of idle origin connections, and a reserve."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(100_000, (limit - IDLE_ORIGINS - 1200) // 2)


def path():
    """The path for daemons: users other than root may not have /usr/sbin in theirs."""
    return os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"


def favoured(command, processor):
    """A command on one processor, with the highest priority that this user may set."""
    haste = ["nice", "-n", "-19"] if os.geteuid() == 0 else []
    return [*haste, "taskset", "-c", str(processor), *command]


class Process:
    """A started program and its children, on one processor."""

    def __init__(self, command, processor, log, environment=None, stdin=None):
        command = favoured(command, processor)
        self.log = log
        with open(log, "wb") as errors:
            self.process = subprocess.Popen(
                command, stdin=stdin or subprocess.DEVNULL, stdout=subprocess.PIPE if stdin else errors, stderr=errors,
                env={**os.environ, "PATH": path(), **(environment or {})}, start_new_session=True)
        self.pid = self.process.pid

    def said(self, pattern, seconds=15):
        """Waits for a line of its output and returns the first group."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = re.search(pattern, Path(self.log).read_text(errors="replace"), re.MULTILINE)
            if found:
                return found.group(1)
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise RuntimeError(f"{self.process.args}: {Path(self.log).read_text(errors='replace')[-2000:]}")

    def tree(self):
        """The processes of the program."""
        found, new = [], [self.pid]
        while new:
            pid = new.pop()
            found.append(pid)
            for task in entries(f"/proc/{pid}/task"):
                new += [int(child) for child in text(f"/proc/{pid}/task/{task}/children").split()]
        return found

    def used(self):
        """Processor time so far: by thread in nanoseconds, and in all in ticks, which include ended threads."""
        threads, ticks = {}, 0
        for pid in self.tree():
            fields = text(f"/proc/{pid}/stat").rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))
            for task in entries(f"/proc/{pid}/task"):
                threads[int(task)] = int((text(f"/proc/{pid}/task/{task}/schedstat") or "0").split()[0])
        return threads, ticks

    def memory(self):
        """Proportional set size in bytes."""
        rollups = [text(f"/proc/{pid}/smaps_rollup") for pid in self.tree()]
        return 1024 * sum(int(found.group(1)) for found in (re.search(r"^Pss: +(\d+)", r, re.M) for r in rollups) if found)

    def stop(self):
        """Ends the program and its children."""
        tree = self.tree()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for pid in tree[1:]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def spent(before, after):
    """Seconds of processor time between two readings: from nanoseconds, or from ticks if threads have ended."""
    exact = (sum(after[0].values()) - sum(before[0].get(task, 0) for task in after[0])) / 1e9
    coarse = (after[1] - before[1]) * TICK
    return coarse if coarse > exact + 4 * TICK else exact


def text(name):
    """The content of a file; empty if it is gone."""
    try:
        return Path(name).read_text()
    except OSError:
        return ""


def entries(name):
    """The entries of a folder; none if it is gone."""
    try:
        return os.listdir(name)
    except OSError:
        return []


class Bench:
    """A folder, an origin, and the started programs; they end with the block."""

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="weir-measuring-"))
        self.folder.chmod(0o755)
        self.processes = []
        self.origin = self.start([LOAD, "origin"], ORIGIN_ON).said(r"^(127\S+)")
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, command, processor=PROXY_ON, **more):
        """Starts a program; its output goes into a file."""
        log = self.folder / f"{len(self.processes)}.log"
        process = Process([str(word) for word in command], processor, log, **more)
        self.processes.append(process)
        return process

    def weir(self, *options):
        """Starts weir: (process, address)."""
        process = self.start([
            "sh", "-c", 'exec "$@" >/dev/null', "sh", WEIR, "--host", "127.0.0.1", "--port", "0", "--allow", "127.0.0.0/8",
            "--connect-ports", "any", "--max-connections", str(connections_max()), "--idle-origins", str(IDLE_ORIGINS),
            "--idle-per-origin", str(IDLE_ORIGINS), "--stats-every", "0", *options])
        return process, process.said(r"listening on (\S+)")

    def relay(self, *options):
        """Starts the bare relay: (process, address)."""
        process = self.start([RELAY, *options, self.origin])
        return process, process.said(r"^(127\S+)")

    def load(self, via, *options, origin=None):
        """Runs the load generator to its end and returns its counts."""
        command = [LOAD, "client", "--via", via, "--to", origin or self.origin, *map(str, options)]
        out = subprocess.run(favoured(command, LOAD_ON), check=True, capture_output=True, text=True)
        return counted(out.stdout)

    def hold(self, via, count, *options):
        """Opens connections that stay until `release`: (process, number of open ones)."""
        command = [LOAD, "client", "--hold", "--via", via, "--to", self.origin, "--connections", str(count), *options]
        process = self.start(command, LOAD_ON, stdin=subprocess.PIPE)
        return process, int(counted(process.process.stdout.readline().decode()).get("held", 0))

    def release(self, process):
        """Closes the connections."""
        process.process.stdin.close()
        process.process.wait()


def counted(line):
    """A line of key=value."""
    pairs = (word.split("=") for word in line.split())
    return {key: float(value) for key, value in pairs}


def settled(process, seconds=3):
    """Memory when it has stopped changing, or after the given time."""
    last, end = process.memory(), time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.3)
        now = process.memory()
        if now == last:
            break
        last = now
    return last
