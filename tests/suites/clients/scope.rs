//! How much is tried: everything by `make clients`, a part of it in every run of the tests.

use squire_tests::clients::{client, matrix::Way};

/// What is tried.
#[derive(Debug)]
pub(crate) struct Scope {
    pub(crate) versions: Vec<String>,
    pub(crate) ways: Vec<Way>,
    /// Kinds of table, as `tests/python/clients/tables.py` has them.
    pub(crate) kinds: Vec<&'static str>,
    /// Whether tables of every storage version are made, with and without stable row ids, where the client can.
    all_variants: bool,
}

const KINDS: [&str; 9] = [
    "scalar", "words", "phrases", "flat", "pq", "hnsw", "rq", "types", "whole",
];

impl Scope {
    /// By the environment: `SQUIRE_CLIENTS` holds the versions that are wanted, or `all`.
    pub(crate) fn wanted() -> Self {
        let all = client::versions().expect("the requirements can be read");
        let wanted = std::env::var("SQUIRE_CLIENTS").unwrap_or_default();
        if wanted.is_empty() {
            return Self {
                versions: ["0.25.3", "0.34.0"].map(str::to_owned).into(),
                ways: vec![Way::Alone, Way::Hand, Way::Daemon],
                kinds: vec!["scalar", "phrases", "types", "whole"],
                all_variants: false,
            };
        }
        let words: Vec<_> = wanted.split([',', ' ']).collect();
        let versions: Vec<_> = all
            .into_iter()
            .filter(|v| words.contains(&"all") || words.contains(&v.as_str()))
            .collect();
        assert!(!versions.is_empty(), "no version is called {wanted}");
        Self {
            versions,
            ways: Way::ALL.into(),
            kinds: KINDS.into(),
            all_variants: true,
        }
    }

    /// Whether a kind of table is made in a variant: with stable row ids or without, in the newest storage version or not.
    pub(crate) fn takes(&self, kind: &str, stable: bool, newest_storage: bool) -> bool {
        self.all_variants || newest_storage && (!stable || kind == "scalar")
    }
}
