//! What is fuzzed, and what must hold of it. An input is a file: one that is kept can be tried again.
//!
//! | file | what is in it |
//! |---|---|
//! | [`codec`] | manifests and sidecars of graphs as bytes |
//! | [`graph`] | a graph whose writer was killed, with one object damaged |
//! | [`manifest`] | Lance's manifests |
//! | [`schema`] | schemas of graphs |
//! | [`input`] | files that are loaded |
//! | [`state`] | the state folder of the daemon |
//! | [`http`] | requests as bytes, to a real daemon |
//! | [`uri`] | URIs, and what stores repeat of a request |
//! | [`dud`] | a target that is wrong on purpose |

mod codec;
mod dud;
mod graph;
mod http;
mod input;
mod manifest;
mod schema;
mod state;
mod uri;

use async_trait::async_trait;
use rand::rngs::StdRng;

/// All but the one that is wrong on purpose.
pub(crate) const NAMES: [&str; 8] = [
    "uri", "codec", "schema", "input", "manifest", "graph", "http", "state",
];

/// What came of an input for which everything holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It was read.
    Taken,
    /// It was turned down as it should be.
    Refused,
}

/// Something that reads what others wrote.
#[async_trait]
pub(crate) trait Target: Send + Sync {
    /// Real inputs, besides those that are kept.
    fn seeds(&self) -> Vec<Vec<u8>> {
        Vec::new()
    }

    /// A fresh input, made of others.
    fn fresh(&self, seeds: &[Vec<u8>], rng: &mut StdRng) -> Vec<u8>;

    /// Hands an input over, and looks whether all that is promised holds.
    ///
    /// # Errors
    /// What does not hold.
    async fn hold(&self, input: &[u8]) -> Result<Outcome, String>;

    /// The most memory that an input may take, in bytes.
    fn memory(&self) -> usize {
        64 << 20
    }
}

/// The name of a target, if it is one.
pub(crate) fn named(name: &str) -> Option<&str> {
    (NAMES.contains(&name) || name == dud::NAME).then_some(name)
}

/// A target, ready for inputs.
pub(crate) async fn open(name: &str) -> Result<Box<dyn Target>, String> {
    Ok(match name {
        "uri" => Box::new(uri::Uri),
        "codec" => Box::new(codec::Codec::new()?),
        "schema" => Box::new(schema::Text),
        "input" => Box::new(input::File::new()?),
        "manifest" => Box::new(manifest::Tables::new().await?),
        "graph" => Box::new(graph::Killed::new().await?),
        "http" => Box::new(http::Server::new().await?),
        "state" => Box::new(state::Folder::new()?),
        dud::NAME => Box::new(dud::Dud),
        other => return Err(format!("{other} is no target")),
    })
}

/// Whether an error says where it comes from, and is no longer than somebody reads.
pub(crate) fn check_error(error: &dyn std::error::Error, places: &[&str]) -> Result<(), String> {
    let text = error.to_string();
    if text.len() > 16 << 10 {
        let begins: String = text.chars().take(200).collect();
        return Err(format!("an error of {} bytes: {begins}", text.len()));
    }
    if places.iter().any(|place| text.contains(place)) {
        Ok(())
    } else {
        Err(format!("an error that names no place: {text}"))
    }
}
