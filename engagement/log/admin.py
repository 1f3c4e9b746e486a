"""The broker's topics: wait for it, create what is missing, compare what is with what should be."""

import asyncio
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError

from engagement.errors import UnavailableError
from engagement.log.topics import TOPICS, Topic
from engagement.ports import answers
from engagement.settings import Settings


@dataclass(frozen=True)
class Difference:
    """One topic that is not as declared."""

    topic: str
    what: str
    declared: str
    found: str


async def wait_for_broker(bootstrap: str, timeout_s: float = 60) -> None:
    """Return when the broker answers metadata requests; raises UnavailableError after a while.

    A bare TCP probe is not enough: on a port of the ephemeral range it may connect to itself.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while not (await asyncio.to_thread(_listens, bootstrap) and await _answers(bootstrap)):
        if loop.time() > deadline:
            raise UnavailableError(
                f"no Kafka broker answers at {bootstrap}", code="log_unavailable"
            )
        await asyncio.sleep(0.05)


def _listens(bootstrap: str) -> bool:
    """Whether any of the servers takes connections, and is not the probe itself."""
    places = (server.strip().rpartition(":") for server in bootstrap.split(","))
    return any(port.isdigit() and answers(int(port), host, 0.5) for host, _, port in places)


async def _answers(bootstrap: str) -> bool:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap, request_timeout_ms=2000)
    try:
        await admin.start()
        cluster = await admin.describe_cluster()
        return bool(cluster["brokers"]) and cluster["controller_id"] >= 0
    except (KafkaError, OSError, TimeoutError, ValueError):
        return False
    finally:
        await admin.close()


async def cluster_id(bootstrap: str) -> str:
    """The id that a cluster was given when its storage was made: a wiped one has another.

    Raises KafkaError or OSError when no broker answers.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        return str((await admin.describe_cluster())["cluster_id"])
    finally:
        await admin.close()


def _declaration(topic: Topic, settings: Settings) -> NewTopic:
    return NewTopic(
        topic.name,
        num_partitions=settings.partitions if topic.co_partitioned else 1,
        replication_factor=settings.replication,
        topic_configs=topic.config(),
    )


async def create_topics(settings: Settings) -> list[str]:
    """Create the topics that are missing; returns their names. Idempotent.

    Returns when every partition has a leader and groups have a coordinator: neither a first
    produce nor a first worker must meet a broker that is not ready for it.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
    await admin.start()
    try:
        existing = set(await admin.list_topics())
        missing = [topic for topic in TOPICS if topic.name not in existing]
        if missing:
            answer = await admin.create_topics([_declaration(t, settings) for t in missing])
            _raise_errors(answer)
        await _wait_for_leaders(admin)
        await _wait_for_coordinator(admin)
        return [topic.name for topic in missing]
    finally:
        await admin.close()


def _raise_errors(answer: object) -> None:
    from aiokafka.errors import for_code

    for name, code, *message in answer.topic_errors:  # type: ignore[attr-defined]
        if code and for_code(code) is not TopicAlreadyExistsError:
            raise UnavailableError(f"cannot create topic {name}: {message or for_code(code)}")


async def _wait_for_leaders(admin: AIOKafkaAdminClient, timeout_s: float = 30) -> None:
    names = [topic.name for topic in TOPICS]
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while True:
        described = await admin.describe_topics(names)
        partitions = [p for topic in described for p in topic["partitions"]]
        if partitions and all(p["error_code"] == 0 and p["leader"] >= 0 for p in partitions):
            return
        if loop.time() > deadline:
            raise UnavailableError("some partitions have no leader", code="log_unavailable")
        await asyncio.sleep(0.05)


async def _wait_for_coordinator(admin: AIOKafkaAdminClient, timeout_s: float = 30) -> None:
    """The first question makes the broker create its topic of group offsets."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout_s
    while True:
        try:
            await admin.find_coordinator("engagement")
        except KafkaError as error:
            if loop.time() > deadline:
                raise UnavailableError(
                    f"consumer groups have no coordinator: {error}", code="log_unavailable"
                ) from error
            await asyncio.sleep(0.05)
        else:
            return


async def correct_topics(settings: Settings) -> None:
    """Give every topic its declared configuration; what nobody declared goes to its default.

    Raises UnavailableError when the broker refuses.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
    await admin.start()
    try:
        replies = await admin.alter_configs(
            [
                ConfigResource(ConfigResourceType.TOPIC, topic.name, topic.config())
                for topic in TOPICS
            ]
        )
    finally:
        await admin.close()
    for reply in replies:
        for code, message, _type, name in reply.resources:
            if code:
                raise UnavailableError(f"cannot configure topic {name}: {message}")


async def compare_topics(settings: Settings) -> list[Difference]:
    """What differs between the broker's topics and their declaration."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
    await admin.start()
    try:
        existing = set(await admin.list_topics())
        differences = [
            Difference(t.name, "topic", "present", "missing")
            for t in TOPICS
            if t.name not in existing
        ]
        present = [topic for topic in TOPICS if topic.name in existing]
        described = {
            topic["topic"]: topic["partitions"]
            for topic in await admin.describe_topics([t.name for t in present])
        }
        for topic in present:
            differences += _compare_partitions(topic, settings, described[topic.name])
            differences += _compare_config(topic, await _config(admin, topic.name))
        return differences
    finally:
        await admin.close()


def _compare_partitions(
    topic: Topic, settings: Settings, partitions: list[dict[str, object]]
) -> list[Difference]:
    declared = _declaration(topic, settings)
    found: list[Difference] = []
    if len(partitions) != declared.num_partitions:
        found.append(
            Difference(topic.name, "partitions", str(declared.num_partitions), str(len(partitions)))
        )
    replicas = min((len(p["replicas"]) for p in partitions), default=0)  # type: ignore[arg-type]
    if replicas < settings.replication:
        found.append(
            Difference(topic.name, "replication", str(settings.replication), str(replicas))
        )
    return found


async def _config(admin: AIOKafkaAdminClient, topic: str) -> dict[str, str]:
    replies = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
    return {
        entry[0]: entry[1]
        for reply in replies
        for resource in reply.resources
        for entry in resource[4]
    }


def _compare_config(topic: Topic, found: dict[str, str]) -> list[Difference]:
    return [
        Difference(topic.name, key, value, found.get(key, ""))
        for key, value in topic.config().items()
        if found.get(key, "") != value
    ]
