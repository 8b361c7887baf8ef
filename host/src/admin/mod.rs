//! Metrics, health and control over HTTP. Never on the data path.
