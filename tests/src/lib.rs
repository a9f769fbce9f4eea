//! What the suites share: a small schema, rows, places for graphs, and stores that count or hold back requests; and
//! what the demo, the soak and the benchmarks share: real data, fingerprints, layouts, the daemon and other writers as
//! child processes.

pub mod bank;
pub mod certificates;
pub mod clients;
pub mod cold;
pub mod crew;
pub mod daemon;
pub mod docs;
pub mod fault;
pub mod fingerprint;
pub mod flights;
pub mod folder;
pub mod hostile;
pub mod lancedb;
pub mod layout;
pub mod newer;
pub mod nycflights;
pub mod patience;
pub mod place;
pub mod plain;
pub mod process;
pub mod promise;
pub mod proxy;
pub mod repository;
pub mod s3;
pub mod show;
pub mod small_disk;
pub mod store;
pub mod stranger;
pub mod torn;
pub mod wrapped;
