//! What the suites share: a small schema, rows, places for graphs, and stores that count or hold back requests; and
//! what the demo, the soak and the benchmarks share: real data, fingerprints, layouts, the daemon and other writers as
//! child processes.
//!
//! | file | what is in it |
//! |---|---|
//! | [`bank`] | a bank, whose books show whether anything is lost, done twice or done by half |
//! | [`certificates`] | certificates that tests make for themselves |
//! | [`clients`] | real LanceDB clients of several versions |
//! | [`cold`] | how often tables are polled that are not written |
//! | [`crew`] | writers in processes of their own |
//! | [`daemon`] | the real daemon as a child process |
//! | [`docs`] | a table with a column for each kind of index |
//! | [`fault`] | stores that fail at one durable write |
//! | [`fingerprint`] | an order-independent fingerprint of rows |
//! | [`flights`] | a small graph in the shape of nycflights13 |
//! | [`folder`] | folders of tables |
//! | [`hostile`] | folders that are made to do harm |
//! | [`lancedb`] | programs that use the real `lancedb` package |
//! | [`layout`] | what a graph looks like on its store |
//! | [`newer`] | a writer with a newer Lance than this build has |
//! | [`nycflights`] | the nycflights13 data |
//! | [`patience`] | waiting for a condition |
//! | [`place`] | places for graphs in memory |
//! | [`plain`] | plain Lance tables in a folder |
//! | [`process`] | programs that were built beside this one, and signals to them |
//! | [`promise`] | what a graph promises its readers |
//! | [`proxy`] | an HTTP proxy that does harm to some requests |
//! | [`repository`] | where the files of this project are |
//! | [`s3`] | a server that speaks S3, in memory |
//! | [`show`] | numbers and tables as output |
//! | [`small_disk`] | a small disk in memory |
//! | [`store`] | stores that record requests, and hold some back |
//! | [`stranger`] | a program that works on a table of a graph with Lance alone |
//! | [`torn`] | manifests as crashes and damaged disks leave them |
//! | [`wrapped`] | hooks around every request to a store |

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
