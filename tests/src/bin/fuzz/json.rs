//! How JSON is spoilt by its structure: values change, go, come twice, change places or are nested without end.

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};

use crate::mutate;

/// Spoils JSON; what is none, as bytes.
pub(crate) fn spoil(bytes: &[u8], words: &[&str], rng: &mut StdRng) -> Vec<u8> {
    let Ok(mut value) = serde_json::from_slice::<Value>(bytes) else {
        return mutate::bytes(bytes, words, rng);
    };
    for _ in 0..rng.random_range(1..=3) {
        let nodes = count(&value);
        let from = copy_of(&value, rng.random_range(0..nodes));
        let at = rng.random_range(0..nodes);
        if let Some(node) = node(&mut value, &mut { at }) {
            spoil_node(node, from, words, rng);
        }
    }
    let spoilt = value.to_string().into_bytes();
    match rng.random_range(0..20) {
        0 => mutate::bytes(&spoilt, words, rng),
        1 => deep(&spoilt, rng),
        _ => spoilt,
    }
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(values) => values.iter().map(count).sum(),
        Value::Object(values) => values.values().map(count).sum(),
        _ => 0,
    }
}

/// The `at`th node, from the root on.
fn node<'v>(value: &'v mut Value, at: &mut usize) -> Option<&'v mut Value> {
    if *at == 0 {
        return Some(value);
    }
    *at -= 1;
    match value {
        Value::Array(values) => values.iter_mut().find_map(|value| node(value, at)),
        Value::Object(values) => values.values_mut().find_map(|value| node(value, at)),
        _ => None,
    }
}

fn copy_of(value: &Value, at: usize) -> Value {
    let mut copy = value.clone();
    let found = node(&mut copy, &mut { at }).map(|node| node.take());
    found.unwrap_or(Value::Null)
}

fn spoil_node(node: &mut Value, other: Value, words: &[&str], rng: &mut StdRng) {
    match rng.random_range(0..6) {
        0 => *node = other,
        1 => *node = scalar(words, rng),
        _ => match node {
            Value::Object(values) => {
                let keys: Vec<_> = values.keys().cloned().collect();
                let key = keys.choose(rng).cloned().unwrap_or_default();
                match rng.random_range(0..4) {
                    0 => drop(values.remove(&key)),
                    1 => {
                        let value = values.remove(&key).unwrap_or(Value::Null);
                        let word = words.choose(rng).map(|word| (*word).to_owned());
                        values.insert(word.unwrap_or_else(|| mutate::text(rng)), value);
                    }
                    2 => drop(values.insert(mutate::text(rng), other)),
                    _ => drop(values.insert(key, scalar(words, rng))),
                }
            }
            Value::Array(values) => match rng.random_range(0..3) {
                0 => drop(values.pop()),
                1 => values.push(other),
                _ => {
                    let again = values.clone();
                    let times = *[1, 1, 30].choose(rng).unwrap_or(&1);
                    (0..times).for_each(|_| values.extend(again.iter().cloned()));
                    values.truncate(5_000);
                }
            },
            Value::String(text) => {
                let spoilt = mutate::bytes(text.as_bytes(), words, rng);
                *text = String::from_utf8_lossy(&spoilt).into_owned();
            }
            Value::Number(number) => {
                let near = number.as_u64().unwrap_or_default();
                *node = match rng.random_range(0..3) {
                    0 => json!(near.wrapping_add(1)),
                    1 => json!(near.wrapping_sub(1)),
                    _ => scalar(words, rng),
                };
            }
            _ => *node = scalar(words, rng),
        },
    }
}

fn scalar(words: &[&str], rng: &mut StdRng) -> Value {
    match rng.random_range(0..9) {
        0 => Value::Null,
        1 => json!(rng.random::<bool>()),
        2 => json!(mutate::NUMBERS.choose(rng)),
        3 => json!(rng.random::<i64>()),
        4 => json!(-0.5),
        5 => json!([]),
        6 => json!({}),
        7 => json!(words.choose(rng).unwrap_or(&"")),
        _ => json!(mutate::text(rng)),
    }
}

/// Puts the whole into very many brackets.
fn deep(bytes: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let depth = *[100, 200, 100_000].choose(rng).unwrap_or(&100);
    let (open, close) = if rng.random() {
        ("[", "]")
    } else {
        ("{\"a\":", "}")
    };
    [
        open.repeat(depth).as_bytes(),
        bytes,
        close.repeat(depth).as_bytes(),
    ]
    .concat()
}
