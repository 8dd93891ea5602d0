"""Processes under measurement: a private PostgreSQL, our server, and whatever else is timed."""

import contextlib
import dataclasses
import glob
import os
import pathlib
import pwd
import shutil
import signal
import statistics
import subprocess
import tempfile
import threading
import time

TICK = os.sysconf("SC_CLK_TCK")


@dataclasses.dataclass
class Run:
    """What a process took."""

    seconds: float
    cpu: float
    peak_mib: float


def run(command, env=None, stdout=subprocess.DEVNULL):
    """Runs a command to its end, and says what it took. What earlier ones have left to be written to disk is written first,
    so that it does not count for this one."""
    os.sync()
    start = time.perf_counter()
    process = subprocess.Popen(command, env={**os.environ, **(env or {})}, stdout=stdout, stderr=subprocess.PIPE)
    peak = Peak(process.pid)
    error = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status != 0:
        raise SystemExit(f"{command[0]} failed: {error}")
    return Run(seconds, usage.ru_utime + usage.ru_stime, peak.mib)


class Peak(threading.Thread):
    """Watches the peak memory of a process. What wait4 tells has that of this program in it, from before exec."""

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.pid, self.mib = pid, 0.0
        self.start()

    def run(self):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            while found := peak_mib(self.pid):
                self.mib = found
                time.sleep(0.02)


def process_cpu(pid, children=False):
    """Seconds of CPU that a process has used, with those of children that have ended where asked."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(int(field) for field in fields[11 : 15 if children else 13]) / TICK


def peak_mib(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def median(runs, field="seconds"):
    return statistics.median(getattr(run, field) for run in runs)


def percentile(values, percent):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(len(ordered) * percent / 100))]


class Postgres:
    """A cluster in a temporary folder, by a unix socket, with the settings of the program's own private server."""

    SETTINGS = {
        "listen_addresses": "",
        "shared_buffers": "256MB",
        "max_wal_size": "4GB",
        "max_connections": "200",
        "log_min_messages": "warning",
    }

    def __init__(self, settings=None):
        found = shutil.which("pg_ctl")
        newest = sorted(glob.glob("/usr/lib/postgresql/*/bin/pg_ctl"), key=lambda path: int(path.split("/")[4]))
        if not found and not newest:
            raise SystemExit("PostgreSQL's server binaries are missing: run `make postgresql`")
        self.binaries = pathlib.Path(found or newest[-1]).parent
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="scr-bench-"))
        # PostgreSQL refuses to run as root.
        self.account = {"user": "postgres"} if os.geteuid() == 0 else {}
        if self.account:
            entry = pwd.getpwnam("postgres")
            os.chown(self.home, entry.pw_uid, entry.pw_gid)
            self.home.chmod(0o755)
        self.data = self.home / "data"
        self._call("initdb", "-D", str(self.data), "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C")
        settings = "".join(f" -c {name}='{value}'" for name, value in {**self.SETTINGS, **(settings or {})}.items())
        options = f"-c unix_socket_directories='{self.home}'{settings}"
        self._call("pg_ctl", "-D", str(self.data), "-w", "-l", str(self.home / "log"), "-o", options, "start")
        self.pid = int((self.data / "postmaster.pid").read_text().splitlines()[0])

    def _call(self, program, *arguments):
        command = [str(self.binaries / program), *arguments]
        # The server inherits what it is started with, so a pipe would never end.
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/", **self.account)

    def url(self, database):
        return f"host={self.home} user=postgres dbname={database}"

    def psql(self, database, *commands):
        psql = shutil.which("psql") or str(self.binaries / "psql")
        arguments = [argument for command in commands for argument in ("-c", command)]
        return [psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", self.url(database), *arguments]

    def query(self, database, sql):
        return subprocess.run([*self.psql(database, sql), "-At"], check=True, capture_output=True, text=True).stdout.strip()

    def cpu(self):
        """Seconds of CPU of all its processes, those that have ended included."""
        total = process_cpu(self.pid, children=True)
        for child in pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                total += process_cpu(child)
        return total

    def stop(self):
        self._call("pg_ctl", "-D", str(self.data), "-w", "-m", "immediate", "stop")
        shutil.rmtree(self.home)


class Server:
    """`serve` on a free port, without authentication."""

    def __init__(self, program, url, *options):
        start = time.perf_counter()
        command = [program, "serve", "--insecure-no-auth", "--listen", "127.0.0.1:0", *options]
        self.process = subprocess.Popen(command, env={**os.environ, "DATABASE_URL": url}, stderr=subprocess.PIPE, text=True)
        self.pid = self.process.pid
        self.address, self.serving_after = None, None
        for line in self.process.stderr:
            if "listening on" in line:
                self.address = line.split("listening on ")[1].split()[0]
            elif line.rstrip().endswith("serving"):
                self.serving_after = time.perf_counter() - start
                break
        # What it says from now on must be read by somebody.
        subprocess.Popen(["cat"], stdin=self.process.stderr, stdout=subprocess.DEVNULL)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
