//! A target that is wrong on purpose: each way of going wrong must be found, written down and told.

use std::future;

use async_trait::async_trait;
use rand::rngs::StdRng;

use super::{Outcome, Target};
use crate::mutate;

pub(super) const NAME: &str = "dud";

pub(super) struct Dud;

#[async_trait]
impl Target for Dud {
    fn seeds(&self) -> Vec<Vec<u8>> {
        vec![b"some words".to_vec()]
    }

    fn fresh(&self, seeds: &[Vec<u8>], rng: &mut StdRng) -> Vec<u8> {
        let words = ["PANIC", "ABORT", "HANG", "EATS", "LIES"];
        mutate::bytes(&mutate::pick(seeds, rng), &words, rng)
    }

    async fn hold(&self, input: &[u8]) -> Result<Outcome, String> {
        let says = |word: &str| {
            input
                .windows(word.len())
                .any(|part| part == word.as_bytes())
        };
        if says("PANIC") {
            panic!("on purpose");
        } else if says("ABORT") {
            std::process::abort();
        } else if says("HANG") {
            future::pending::<()>().await;
        } else if says("EATS") {
            let eaten = vec![0u8; 100 << 20];
            return Ok(if eaten.len() > input.len() {
                Outcome::Taken
            } else {
                Outcome::Refused
            });
        } else if says("LIES") {
            return Err("it is not as it was promised".to_owned());
        }
        Ok(Outcome::Taken)
    }
}
