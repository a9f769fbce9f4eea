//! Schemas of graphs: what is read is written so that it is read as the same; a refusal names a line.

use async_trait::async_trait;
use rand::rngs::StdRng;
use squire_engine::schema::Schema;
use squire_tests::{flights::SCHEMA, repository};

use super::{Outcome, Target, check_error};
use crate::mutate;

const FILE: &str = "graph.toml";
const WORDS: [&str; 30] = [
    "[graph]",
    "name",
    "[node.A]",
    "[edge.B]",
    "[node.A.properties]",
    "key",
    "from",
    "to",
    "node",
    "property",
    "required",
    "true",
    "type",
    "\"string\"",
    "\"int32\"",
    "\"int64\"",
    "\"vector[4]\"",
    "\"list<string>\"",
    "\"timestamp\"",
    "\"decimal(10, 2)\"",
    "\"struct\"",
    "indexes",
    "kind",
    "\"btree\"",
    "\"ivf_pq\"",
    "{",
    "}",
    "=",
    "\n",
    "\"",
];

pub(super) struct Text;

#[async_trait]
impl Target for Text {
    fn seeds(&self) -> Vec<Vec<u8>> {
        let flights = std::fs::read(repository::file("tests/data/flights.toml"));
        let mut seeds = vec![SCHEMA.as_bytes().to_vec()];
        seeds.extend(flights);
        seeds
    }

    fn fresh(&self, seeds: &[Vec<u8>], rng: &mut StdRng) -> Vec<u8> {
        mutate::bytes(&mutate::pick(seeds, rng), &WORDS, rng)
    }

    async fn hold(&self, input: &[u8]) -> Result<Outcome, String> {
        let text = String::from_utf8_lossy(input);
        let schema = match Schema::parse(&text, FILE) {
            Ok(schema) => schema,
            Err(error) => {
                check_error(&error, &[&format!("{FILE}:")])?;
                return Ok(Outcome::Refused);
            }
        };
        let written = schema.to_toml();
        let again = Schema::parse(&written, FILE)
            .map_err(|e| format!("what was written cannot be read: {e}\n{written}"))?;
        if again != schema {
            return Err(format!("what was written is read as another:\n{written}"));
        }
        Ok(Outcome::Taken)
    }
}
