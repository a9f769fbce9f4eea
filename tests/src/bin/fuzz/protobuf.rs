//! How messages of protobuf are spoilt by their structure: fields go, come twice, change their kind, their number or their
//! value; lengths fit again afterwards, so that a reader gets to what was spoilt.

use rand::{Rng, rngs::StdRng, seq::IndexedRandom};

use crate::mutate::{self, NUMBERS};

/// A message as its fields. What is no message stays bytes.
type Message = Vec<(u64, Value)>;

#[derive(Clone, Debug)]
enum Value {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    Bytes(Vec<u8>),
    Message(Message),
}

/// Messages are not deeper than this in what is spoilt here.
const DEEPEST: usize = 12;

/// Spoils a message; bytes that are none, as bytes.
pub(crate) fn spoil(bytes: &[u8], rng: &mut StdRng) -> Vec<u8> {
    let Some(mut message) = read(bytes, 0) else {
        return mutate::bytes(bytes, &[], rng);
    };
    for _ in 0..rng.random_range(1..=3) {
        spoil_in(&mut message, rng);
    }
    let mut out = Vec::new();
    write(&message, &mut out);
    out
}

fn read(mut bytes: &[u8], depth: usize) -> Option<Message> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let number = key >> 3;
        if number == 0 {
            return None;
        }
        let value = match key & 7 {
            0 => Value::Varint(varint(&mut bytes)?),
            1 => Value::Fixed64(*take(&mut bytes)?),
            5 => Value::Fixed32(*take(&mut bytes)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (inside, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                let deeper = depth < DEEPEST && !inside.is_empty();
                match deeper.then(|| read(inside, depth + 1)).flatten() {
                    Some(message) => Value::Message(message),
                    None => Value::Bytes(inside.to_vec()),
                }
            }
            _ => return None,
        };
        fields.push((number, value));
    }
    Some(fields)
}

fn take<'b, const N: usize>(bytes: &mut &'b [u8]) -> Option<&'b [u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(first)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for place in 0..10 {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

fn write(message: &Message, out: &mut Vec<u8>) {
    for (number, value) in message {
        let kind = match value {
            Value::Varint(_) => 0,
            Value::Fixed64(_) => 1,
            Value::Bytes(_) | Value::Message(_) => 2,
            Value::Fixed32(_) => 5,
        };
        write_varint((number << 3) | kind, out);
        match value {
            Value::Varint(number) => write_varint(*number, out),
            Value::Fixed64(bytes) => out.extend(bytes),
            Value::Fixed32(bytes) => out.extend(bytes),
            Value::Bytes(bytes) => write_bytes(bytes, out),
            Value::Message(message) => {
                let mut inside = Vec::new();
                write(message, &mut inside);
                write_bytes(&inside, out);
            }
        }
    }
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_varint(bytes.len() as u64, out);
    out.extend(bytes);
}

fn write_varint(mut number: u64, out: &mut Vec<u8>) {
    loop {
        let byte = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

fn spoil_in(message: &mut Message, rng: &mut StdRng) {
    if message.is_empty() || rng.random_ratio(1, 12) {
        let number = rng.random_range(1..40);
        let value = *NUMBERS.choose(rng).unwrap_or(&0);
        message.push((number, Value::Varint(value)));
        return;
    }
    let at = rng.random_range(0..message.len());
    // Mostly further inside: there is most of a message.
    if let (_, Value::Message(inside)) = &mut message[at]
        && rng.random_ratio(4, 5)
    {
        return spoil_in(inside, rng);
    }
    match rng.random_range(0..8) {
        0 => drop(message.remove(at)),
        1 => {
            let again = message[at].clone();
            let times = *[1, 1, 1, 20, 200].choose(rng).unwrap_or(&1);
            message.extend(std::iter::repeat_n(again, times));
        }
        2 => message[at].0 = rng.random_range(1..40),
        3 => {
            let other = rng.random_range(0..message.len());
            let number = message[at].0;
            message[at] = message[other].clone();
            message[at].0 = number;
        }
        _ => spoil_value(&mut message[at].1, rng),
    }
}

fn spoil_value(value: &mut Value, rng: &mut StdRng) {
    match value {
        Value::Varint(number) => {
            *number = match rng.random_range(0..4) {
                0 => number.wrapping_add(1),
                1 => number.wrapping_sub(1),
                2 => rng.random(),
                _ => *NUMBERS.choose(rng).unwrap_or(&0),
            };
        }
        Value::Fixed64(bytes) => *bytes = rng.random(),
        Value::Fixed32(bytes) => *bytes = rng.random(),
        Value::Bytes(bytes) if rng.random() => *bytes = mutate::text(rng).into_bytes(),
        Value::Bytes(bytes) => *bytes = mutate::bytes(bytes, &[], rng),
        Value::Message(_) => *value = Value::Bytes(mutate::text(rng).into_bytes()),
    }
}
