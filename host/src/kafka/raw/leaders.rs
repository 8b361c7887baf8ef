//! A mend of librdkafka 2.12.1, without which a broker that does not know a partition's leader for a
//! moment can make it write where nothing of its own is.
//!
//! Fetch replies since version 16 name the new leader of a partition that has moved (KIP-951).
//! `rd_kafka_handle_Fetch_metadata_update` makes room for each partition of which a reply says
//! anything, and fills in only those whose leader is known: the rest of the room is what the memory
//! held before, and `rd_kafka_metadata_update_op` takes it for partitions. Their numbers are checked
//! from above and not from below. Seen on Kafka 4.4.0 while a broker came back: numbers like
//! -871895312 in the log, SIGSEGV, partitions of which nothing came any more (librdkafka #5280).
//!
//! The two functions that make this room, and fill it, are librdkafka's own; the linker gives the
//! calls from other files of it to the ones below (`--wrap`, see `build.rs`), which count what is
//! filled in. To be taken out with the first librdkafka that fills in all, or makes room for less:
//! then the test below says what it did before.

use std::ffi::{c_char, c_int, c_void};

use rdkafka_sys as sys;

/// `rd_kafka_Uuid_t`, which goes by value.
#[repr(C)]
struct Uuid {
    bits: [i64; 2],
    text: [c_char; 23],
}

unsafe extern "C" {
    fn __real_rd_kafkap_leader_discovery_set_topic(
        buffer: *mut c_void,
        metadata: *mut sys::rd_kafka_metadata,
        topic: c_int,
        id: Uuid,
        name: *mut c_char,
        partitions: c_int,
    );

    fn __real_rd_kafkap_leader_discovery_set_CurrentLeader(
        buffer: *mut c_void,
        metadata: *mut sys::rd_kafka_metadata,
        topic: c_int,
        place: c_int,
        partition: i32,
        leader: *mut c_void,
    );
}

/// Makes room for partitions of a topic, none of which is filled in yet.
// SAFETY: nothing else has this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_rd_kafkap_leader_discovery_set_topic(
    buffer: *mut c_void,
    metadata: *mut sys::rd_kafka_metadata,
    topic: c_int,
    id: Uuid,
    name: *mut c_char,
    partitions: c_int,
) {
    // SAFETY: librdkafka's own call, passed on. `metadata` is the first member of what it is called
    // with (`rd_kafka_metadata_internal_t`), and the call has filled in this topic.
    unsafe {
        __real_rd_kafkap_leader_discovery_set_topic(buffer, metadata, topic, id, name, partitions);
        (*(*metadata).topics.offset(topic as isize)).partition_cnt = 0;
    }
}

/// Fills in a partition; librdkafka does it from the first place on, without a gap.
// SAFETY: nothing else has this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_rd_kafkap_leader_discovery_set_CurrentLeader(
    buffer: *mut c_void,
    metadata: *mut sys::rd_kafka_metadata,
    topic: c_int,
    place: c_int,
    partition: i32,
    leader: *mut c_void,
) {
    // SAFETY: as above; the room has this place, so the count does not go beyond it.
    unsafe {
        __real_rd_kafkap_leader_discovery_set_CurrentLeader(
            buffer, metadata, topic, place, partition, leader,
        );
        (*(*metadata).topics.offset(topic as isize)).partition_cnt = place + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `rd_tmpabuf_t`.
    #[repr(C)]
    struct Buffer {
        size: usize,
        used: usize,
        bytes: *mut u8,
        failed: c_int,
        asserts: c_int,
    }

    /// `rd_kafkap_CurrentLeader_t`.
    #[repr(C)]
    struct Leader {
        id: i32,
        epoch: i32,
    }

    unsafe extern "C" {
        fn rd_kafkap_leader_discovery_metadata_init(metadata: *mut c_void, broker: i32);
        fn rd_kafkap_leader_discovery_set_topic_cnt(
            buffer: *mut c_void,
            metadata: *mut c_void,
            topics: c_int,
        );
        fn rd_kafkap_leader_discovery_set_topic(
            buffer: *mut c_void,
            metadata: *mut c_void,
            topic: c_int,
            id: Uuid,
            name: *mut c_char,
            partitions: c_int,
        );
        fn rd_kafkap_leader_discovery_set_CurrentLeader(
            buffer: *mut c_void,
            metadata: *mut c_void,
            topic: c_int,
            place: c_int,
            partition: i32,
            leader: *mut c_void,
        );
    }

    /// What librdkafka does with a reply that speaks of three partitions and knows the leader of one.
    #[test]
    fn a_partition_whose_leader_is_unknown_is_not_taken_for_one() {
        let mut room = [0x5a_u64; 512];
        let mut buffer = Buffer {
            size: size_of_val(&room),
            used: 0,
            bytes: room.as_mut_ptr().cast(),
            failed: 0,
            asserts: 1,
        };
        // Larger than `rd_kafka_metadata_internal_t`.
        let mut metadata = [0_u64; 64];
        let mut leader = Leader { id: 1, epoch: 4 };
        let (buffer, metadata): (*mut c_void, *mut c_void) =
            ((&raw mut buffer).cast(), metadata.as_mut_ptr().cast());
        let id = Uuid { bits: [1, 2], text: [0; 23] };
        // SAFETY: the calls that `rd_kafka_handle_Fetch_metadata_update` makes, in its order, with
        // more room than they take; `asserts` ends the test if it were not.
        let topic = unsafe {
            rd_kafkap_leader_discovery_metadata_init(metadata, 1);
            rd_kafkap_leader_discovery_set_topic_cnt(buffer, metadata, 1);
            rd_kafkap_leader_discovery_set_topic(buffer, metadata, 0, id, std::ptr::null_mut(), 3);
            let leader = (&raw mut leader).cast();
            rd_kafkap_leader_discovery_set_CurrentLeader(buffer, metadata, 0, 0, 7, leader);
            &*(*metadata.cast::<sys::rd_kafka_metadata>()).topics
        };
        assert_eq!(topic.partition_cnt, 1, "the other two hold what was in the memory before");
        // SAFETY: the one that is filled in.
        let partition = unsafe { &*topic.partitions };
        assert_eq!((partition.id, partition.leader), (7, 1));
    }
}
