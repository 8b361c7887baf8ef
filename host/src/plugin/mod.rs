//! wasmtime: load, check, limit, cache and call plugins. Knows nothing of Kafka.
