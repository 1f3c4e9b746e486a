"""Topics: created as declared, differences named, configuration corrected."""

from collections.abc import AsyncIterator

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from engagement.errors import UnavailableError
from engagement.log import admin
from engagement.log.topics import CLOCK_TOPIC, TOPICS
from engagement.settings import Settings

pytestmark = pytest.mark.engines


@pytest.fixture
async def kafka(engines: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    client = AIOKafkaAdminClient(bootstrap_servers=engines.bootstrap_servers)
    await client.start()
    yield client
    await client.close()


async def test_all_topics_are_as_declared_and_creating_them_again_does_nothing(
    engines: Settings, kafka: AIOKafkaAdminClient
) -> None:
    assert await admin.create_topics(engines) == []
    assert await admin.compare_topics(engines) == []
    assert {topic.name for topic in TOPICS} <= set(await kafka.list_topics())


async def test_partitions_that_differ_are_named_topic_by_topic(engines: Settings) -> None:
    other = engines.model_copy(update={"partitions": engines.partitions * 2})
    found = await admin.compare_topics(other)
    assert {difference.what for difference in found} == {"partitions"}
    assert {difference.topic for difference in found} == {
        topic.name for topic in TOPICS if topic.co_partitioned
    }


async def test_a_configuration_that_somebody_changed_is_named_and_corrected(
    engines: Settings, kafka: AIOKafkaAdminClient
) -> None:
    changed = ConfigResource(ConfigResourceType.TOPIC, CLOCK_TOPIC, {"retention.ms": "86400000"})
    await kafka.alter_configs([changed])
    found = await admin.compare_topics(engines)
    assert {difference.topic for difference in found} == {CLOCK_TOPIC}
    assert "retention.ms" in {difference.what for difference in found}
    await admin.correct_topics(engines)
    assert await admin.compare_topics(engines) == []


async def test_nobody_at_the_address_is_unavailable() -> None:
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1"):
        await admin.wait_for_broker("127.0.0.1:1", timeout_s=0.1)
