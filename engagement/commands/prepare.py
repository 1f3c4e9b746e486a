"""`engagement prepare`: fetch what a first start needs, for one without network or patience."""

from rich.console import Console

from engagement.commands.steps import steps
from engagement.log.embedded import EmbeddedKafka
from engagement.log.kafka_jars import cache_dir
from engagement.settings import Settings


def prepare(settings: Settings) -> int:
    """Fetch and train the embedded broker. Raises UnavailableError when it cannot be had."""
    console = Console(stderr=True, highlight=False)
    if settings.kafka:
        console.print("ENGAGEMENT_KAFKA is set: no broker is started here, nothing to prepare")
        return 0
    with steps(console) as (tell, _):
        EmbeddedKafka(settings).fetch(tell)
    console.print(f"Kafka is ready in {settings.kafka_jars_dir or cache_dir(settings)}")
    return 0
