//! How inputs are spoilt as bytes and as text.

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

/// Numbers at which programs go wrong.
pub(crate) const NUMBERS: [u64; 18] = [
    0,
    1,
    2,
    7,
    16,
    127,
    128,
    255,
    256,
    0x7fff,
    0xffff,
    0x7fff_fff0,
    0x7fff_ffff,
    0xffff_ffff,
    1 << 40,
    i64::MAX as u64,
    u64::MAX - 1,
    u64::MAX,
];

/// Texts at which programs go wrong, whatever they are read as.
pub(crate) const TEXTS: [&str; 22] = [
    "",
    " ",
    ".",
    "..",
    "../..",
    "/",
    "//",
    "%",
    "%00",
    "%2e%2e%2f",
    "\0",
    "\n",
    "\r\n",
    "\t",
    "\u{feff}",
    "\u{202e}",
    "é",
    "🦀",
    "-1",
    "1e999",
    "nan",
    "'; DROP TABLE t; --",
];

/// Spoils bytes in one to four ways; words are put in where they are of use.
pub(crate) fn bytes(input: &[u8], words: &[&str], rng: &mut StdRng) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..rng.random_range(1..=4) {
        once(&mut bytes, words, rng);
    }
    bytes
}

fn once(bytes: &mut Vec<u8>, words: &[&str], rng: &mut StdRng) {
    let length = bytes.len();
    let at = rng.random_range(0..=length);
    let until = rng.random_range(at..=length).min(at + 64);
    match rng.random_range(0..10) {
        0 if at < length => bytes[at] ^= 1 << rng.random_range(0..8),
        1 if at < length => bytes[at] = rng.random(),
        2 => drop(bytes.drain(at..until)),
        3 => {
            let again = bytes[at..until].to_vec();
            let to = rng.random_range(0..=length);
            bytes.splice(to..to, again);
        }
        4 => bytes.truncate(at),
        5 => {
            let number = *NUMBERS.choose(rng).unwrap_or(&0);
            let width = *[1, 2, 4, 8].choose(rng).unwrap_or(&4);
            let end = (at + width).min(length);
            let width = end - at;
            bytes[at..end].copy_from_slice(&number.to_le_bytes()[..width]);
        }
        6 => {
            let word = TEXTS.choose(rng).unwrap_or(&"");
            bytes.splice(at..until, word.bytes());
        }
        7 => {
            // The same byte, again and again.
            let byte = bytes.get(at).copied().unwrap_or(b'[');
            let times = *[2, 16, 300, 5_000].choose(rng).unwrap_or(&2);
            bytes.splice(at..at, std::iter::repeat_n(byte, times));
        }
        _ => {
            let word = words.choose(rng).unwrap_or(&"");
            let until = if rng.random() { at } else { until };
            bytes.splice(at..until, word.bytes());
        }
    }
}

/// A text that names could be.
pub(crate) fn text(rng: &mut StdRng) -> String {
    match rng.random_range(0..4) {
        0 => (*TEXTS.choose(rng).unwrap_or(&"")).to_owned(),
        1 => {
            let length = *[200, 5_000].choose(rng).unwrap_or(&200);
            "x".repeat(length)
        }
        _ => {
            let length = rng.random_range(0..12);
            (0..length)
                .map(|_| char::from_u32(rng.random_range(0..0x2fff)).unwrap_or('?'))
                .collect()
        }
    }
}

/// One of some inputs, with the beginning of it and the end of another now and then.
pub(crate) fn pick(seeds: &[Vec<u8>], rng: &mut StdRng) -> Vec<u8> {
    let empty = Vec::new();
    let one = seeds.choose(rng).unwrap_or(&empty);
    if rng.random_ratio(1, 20) {
        let other = seeds.choose(rng).unwrap_or(&empty);
        let (cut, from) = (
            rng.random_range(0..=one.len()),
            rng.random_range(0..=other.len()),
        );
        return [&one[..cut], &other[from..]].concat();
    }
    one.clone()
}
