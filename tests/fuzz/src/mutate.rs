//! What parsers dislike.

use fastrand::Rng;

/// Numbers, times and texts at the edges of what fits, and the beginnings of what has no end.
const WORDS: [&str; 30] = [
    "-1",
    "0",
    "-0",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775809",
    "99999999999999999999999999",
    "1e400",
    "0.1",
    "NaN",
    "null",
    "true",
    "{}",
    "[]",
    "\"\"",
    "\"\\ud800\"",
    "\\u0000",
    "\u{0}",
    "\u{feff}",
    "\u{202e}",
    "\r\n",
    "\\\n",
    "'''",
    "\"\"\"",
    "${x}",
    "9999-12-31T23:59:59Z",
    "-009999-01-01T00:00:00Z",
    "1h 1h",
    "99999999999h",
];

/// What opens something, repeated: a parser that recurses runs out of stack.
const OPENINGS: [&str; 5] = ["[", "{\"a\":", "(", "[[", "a."];

/// Breaks the bytes in one way.
pub(crate) fn once(bytes: &mut Vec<u8>, other: &[u8], random: &mut Rng) {
    let at = random.usize(..=bytes.len());
    match random.u32(..10) {
        0 => flip(bytes, random),
        1 => insert(bytes, at, &[random.u8(..)]),
        2 => drop(bytes.drain(span(bytes.len(), random))),
        3 => {
            let copied = bytes[span(bytes.len(), random)].to_vec();
            insert(bytes, at, &copied);
        }
        4 => {
            let taken = other[span(other.len(), random)].to_vec();
            insert(bytes, at, &taken);
        }
        5 => insert(bytes, at, word(random)),
        6 => {
            let span = span(bytes.len(), random);
            bytes.splice(span, word(random).iter().copied());
        }
        7 => bytes.truncate(at),
        8 => value(bytes, random),
        _ => {
            let opening = OPENINGS[random.usize(..OPENINGS.len())].repeat(random.usize(1..5000));
            insert(bytes, at, opening.as_bytes());
        }
    }
}

fn word(random: &mut Rng) -> &'static [u8] {
    WORDS[random.usize(..WORDS.len())].as_bytes()
}

fn flip(bytes: &mut [u8], random: &mut Rng) {
    if !bytes.is_empty() {
        let at = random.usize(..bytes.len());
        bytes[at] ^= 1 << random.u32(..8);
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, new: &[u8]) {
    bytes.splice(at..at, new.iter().copied());
}

/// A part of so many bytes; short ones are likelier.
fn span(length: usize, random: &mut Rng) -> std::ops::Range<usize> {
    let start = random.usize(..=length);
    let most = (length - start).min(1 << random.u32(..8));
    start..start + random.usize(..=most)
}

/// Replaces what stands after a `:` or `=`, to the line's end or the next comma: another value
/// under a key that is known.
fn value(bytes: &mut Vec<u8>, random: &mut Rng) {
    let starts: Vec<_> = (0..bytes.len()).filter(|at| matches!(bytes[*at], b':' | b'=')).collect();
    if starts.is_empty() {
        return;
    }
    let start = starts[random.usize(..starts.len())] + 1;
    let length = bytes[start..]
        .iter()
        .position(|byte| matches!(byte, b',' | b'\n' | b'}'))
        .unwrap_or(bytes.len() - start);
    bytes.splice(start..start + length, word(random).iter().copied());
}
