"""Records of facts about an account, a battle or a gift."""

from engagement.domain.events import BATTLE_TOPIC, TOPIC_OF_TYPE, SubjectFact
from engagement.log.codec import CONTENT_TYPE, encode_subject_fact
from engagement.log.topics import partition_of
from engagement.processors.outbox import OutRecord


def fact_record(fact: SubjectFact, partitions: int) -> OutRecord:
    """The record of a fact, in the partition of what it is about.

    What a battle tells its rooms is a fact of the rooms' topic there, and of the battles' here.
    """
    topic = BATTLE_TOPIC if fact.collection == "battles" else TOPIC_OF_TYPE[fact.kind]
    return OutRecord(
        topic,
        partition_of(fact.subject, partitions),
        fact.subject.encode(),
        encode_subject_fact(fact),
        (CONTENT_TYPE,),
    )
